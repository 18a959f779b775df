//! Bitmap commands.

use crate::commands::Handler;
use crate::commands::bitmap;
use crate::commands::spec::*;

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("bitcount", -2, Group::Bitmap, "2.6.0")
        .summary("Counts the bits that are set in a string.")
        .complexity("O(N)")
        .flags(READONLY)
        .acl(Categories::BITMAP)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("7.0.0", "`BYTE|BIT`."), ("8.0.0", "`end` may be left out.")])
        .arguments(&[
            key("key", 0),
            block(
                "range",
                &[
                    integer("start"),
                    block(
                        "end-unit-block",
                        &[
                            integer("end"),
                            one_of("unit", &[keyword("byte", "BYTE"), keyword("bit", "BIT")])
                                .since("7.0.0")
                                .optional(),
                        ],
                    )
                    .optional(),
                ],
            )
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(bitmap::range::bitcount)),
    command("bitfield", -2, Group::Bitmap, "3.2.0")
        .summary("Runs several operations on integers packed into a string.")
        .complexity("O(1) for each operation")
        .flags(WRITE | DENYOOM)
        .acl(Categories::BITMAP)
        .keys(&[index_key(RW | ACCESS | UPDATE | VARIABLE_FLAGS, 1).notes("May both read and change")])
        .arguments(&[
            key("key", 0),
            one_of(
                "operation",
                &[
                    block("get-block", &[string("encoding"), integer("offset")]).token("GET"),
                    block(
                        "write",
                        &[
                            one_of(
                                "overflow-block",
                                &[keyword("wrap", "WRAP"), keyword("sat", "SAT"), keyword("fail", "FAIL")],
                            )
                            .token("OVERFLOW")
                            .optional(),
                            one_of(
                                "write-operation",
                                &[
                                    block(
                                        "set-block",
                                        &[string("encoding"), integer("offset"), integer("value")],
                                    )
                                    .token("SET"),
                                    block(
                                        "incrby-block",
                                        &[string("encoding"), integer("offset"), integer("increment")],
                                    )
                                    .token("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .optional()
            .multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(bitmap::field::bitfield)),
    command("bitfield_ro", -2, Group::Bitmap, "6.0.0")
        .summary("Reads several integers packed into a string.")
        .complexity("O(1) for each operation")
        .flags(READONLY | FAST)
        .acl(Categories::BITMAP)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            block("get-block", &[string("encoding"), integer("offset")])
                .token("GET")
                .optional()
                .multiple()
                .multiple_token(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(bitmap::field::bitfield_ro)),
    command("bitop", -4, Group::Bitmap, "2.6.0")
        .summary("Combines strings bit by bit and stores the result.")
        .complexity("O(N)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::BITMAP)
        .keys(&[index_key(OW | UPDATE, 2), index_range(RO | ACCESS, 3, -1, 1)])
        .arguments(&[
            one_of(
                "operation",
                &[keyword("and", "AND"), keyword("or", "OR"), keyword("xor", "XOR"), keyword("not", "NOT")],
            ),
            key("destkey", 0),
            key("key", 1).multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(bitmap::combine::bitop)),
    command("bitpos", -3, Group::Bitmap, "2.8.7")
        .summary("Finds the first bit that is 0 or 1.")
        .complexity("O(N)")
        .flags(READONLY)
        .acl(Categories::BITMAP)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("7.0.0", "`BYTE|BIT`.")])
        .arguments(&[
            key("key", 0),
            integer("bit"),
            block(
                "range",
                &[
                    integer("start"),
                    block(
                        "end-unit-block",
                        &[
                            integer("end"),
                            one_of("unit", &[keyword("byte", "BYTE"), keyword("bit", "BIT")])
                                .since("7.0.0")
                                .optional(),
                        ],
                    )
                    .optional(),
                ],
            )
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(bitmap::range::bitpos)),
    command("getbit", 3, Group::Bitmap, "2.2.0")
        .summary("Reads one bit of a string.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::BITMAP)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), integer("offset")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(bitmap::single::getbit)),
    command("setbit", 4, Group::Bitmap, "2.2.0")
        .summary("Changes one bit of a string and returns the old one.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::BITMAP)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("offset"), integer("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(bitmap::single::setbit)),
];
