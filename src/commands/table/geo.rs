//! Geospatial commands.

use crate::commands::Handler;
use crate::commands::geo;
use crate::commands::spec::*;

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("geoadd", -5, Group::Geo, "3.2.0")
        .summary("Adds places to a geospatial index.")
        .complexity("O(log(N)) for each place, N being the size of the index")
        .flags(WRITE | DENYOOM)
        .acl(Categories::GEO)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[("6.2.0", "`CH`, `NX` and `XX`.")])
        .arguments(&[
            key("key", 0),
            one_of("condition", &[keyword("nx", "NX"), keyword("xx", "XX")]).since("6.2.0").optional(),
            keyword("change", "CH").since("6.2.0").optional(),
            block("data", &[double("longitude"), double("latitude"), string("member")]).multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::members::geoadd)),
    command("geodist", -4, Group::Geo, "3.2.0")
        .summary("Tells the distance between two places.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::GEO)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            string("member1"),
            string("member2"),
            one_of(
                "unit",
                &[keyword("m", "M"), keyword("km", "KM"), keyword("ft", "FT"), keyword("mi", "MI")],
            )
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::members::geodist)),
    command("geohash", -2, Group::Geo, "3.2.0")
        .summary("Tells the geohash texts of places.")
        .complexity("O(1) for each place")
        .flags(READONLY)
        .acl(Categories::GEO)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), string("member").optional().multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::members::geohash)),
    command("geopos", -2, Group::Geo, "3.2.0")
        .summary("Tells the coordinates of places.")
        .complexity("O(1) for each place")
        .flags(READONLY)
        .acl(Categories::GEO)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), string("member").optional().multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::members::geopos)),
    command("georadius", -6, Group::Geo, "3.2.0")
        .summary("Finds the places within a distance of a point, and may store them.")
        .complexity(
            "O(N+log(M)), N being the number of places in the bounding box and M the size of \
             the index",
        )
        .flags(WRITE | DENYOOM | MOVABLEKEYS)
        .acl(Categories::GEO)
        .keys(&[
            index_key(RO | ACCESS, 1),
            keyword_keys(OW | UPDATE | VARIABLE_FLAGS, "STORE", 6, 0, 0),
            keyword_keys(OW | UPDATE | VARIABLE_FLAGS, "STOREDIST", 6, 0, 0),
        ])
        .history(&[("6.2.0", "`COUNT` knows `ANY`."), ("7.0.0", "Units in upper case.")])
        .arguments(&[
            key("key", 0),
            double("longitude"),
            double("latitude"),
            double("radius"),
            one_of(
                "unit",
                &[keyword("m", "M"), keyword("km", "KM"), keyword("ft", "FT"), keyword("mi", "MI")],
            ),
            keyword("withcoord", "WITHCOORD").optional(),
            keyword("withdist", "WITHDIST").optional(),
            keyword("withhash", "WITHHASH").optional(),
            block(
                "count-block",
                &[integer("count").token("COUNT"), keyword("any", "ANY").since("6.2.0").optional()],
            )
            .optional(),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
            one_of(
                "store",
                &[
                    key("storekey", 1).token("STORE").display("key"),
                    key("storedistkey", 2).token("STOREDIST").display("key"),
                ],
            )
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::search::georadius)),
    command("georadius_ro", -6, Group::Geo, "3.2.10")
        .summary("Finds the places within a distance of a point.")
        .complexity(
            "O(N+log(M)), N being the number of places in the bounding box and M the size of \
             the index",
        )
        .flags(READONLY)
        .acl(Categories::GEO)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("6.2.0", "`COUNT` knows `ANY`."), ("7.0.0", "Units in upper case.")])
        .arguments(&[
            key("key", 0),
            double("longitude"),
            double("latitude"),
            double("radius"),
            one_of(
                "unit",
                &[keyword("m", "M"), keyword("km", "KM"), keyword("ft", "FT"), keyword("mi", "MI")],
            ),
            keyword("withcoord", "WITHCOORD").optional(),
            keyword("withdist", "WITHDIST").optional(),
            keyword("withhash", "WITHHASH").optional(),
            block(
                "count-block",
                &[integer("count").token("COUNT"), keyword("any", "ANY").since("6.2.0").optional()],
            )
            .optional(),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::search::georadius_ro)),
    command("georadiusbymember", -5, Group::Geo, "3.2.0")
        .summary("Finds the places within a distance of another place, and may store them.")
        .complexity(
            "O(N+log(M)), N being the number of places in the bounding box and M the size of \
             the index",
        )
        .flags(WRITE | DENYOOM | MOVABLEKEYS)
        .acl(Categories::GEO)
        .keys(&[
            index_key(RO | ACCESS, 1),
            keyword_keys(OW | UPDATE | VARIABLE_FLAGS, "STORE", 5, 0, 0),
            keyword_keys(OW | UPDATE | VARIABLE_FLAGS, "STOREDIST", 5, 0, 0),
        ])
        .history(&[("6.2.0", "`COUNT` knows `ANY`."), ("7.0.0", "Units in upper case.")])
        .arguments(&[
            key("key", 0),
            string("member"),
            double("radius"),
            one_of(
                "unit",
                &[keyword("m", "M"), keyword("km", "KM"), keyword("ft", "FT"), keyword("mi", "MI")],
            ),
            keyword("withcoord", "WITHCOORD").optional(),
            keyword("withdist", "WITHDIST").optional(),
            keyword("withhash", "WITHHASH").optional(),
            block("count-block", &[integer("count").token("COUNT"), keyword("any", "ANY").optional()])
                .optional(),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
            one_of(
                "store",
                &[
                    key("storekey", 1).token("STORE").display("key"),
                    key("storedistkey", 2).token("STOREDIST").display("key"),
                ],
            )
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::search::georadiusbymember)),
    command("georadiusbymember_ro", -5, Group::Geo, "3.2.10")
        .summary("Finds the places within a distance of another place.")
        .complexity(
            "O(N+log(M)), N being the number of places in the bounding box and M the size of \
             the index",
        )
        .flags(READONLY)
        .acl(Categories::GEO)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("6.2.0", "`COUNT` knows `ANY`."), ("7.0.0", "Units in upper case.")])
        .arguments(&[
            key("key", 0),
            string("member"),
            double("radius"),
            one_of(
                "unit",
                &[keyword("m", "M"), keyword("km", "KM"), keyword("ft", "FT"), keyword("mi", "MI")],
            ),
            keyword("withcoord", "WITHCOORD").optional(),
            keyword("withdist", "WITHDIST").optional(),
            keyword("withhash", "WITHHASH").optional(),
            block("count-block", &[integer("count").token("COUNT"), keyword("any", "ANY").optional()])
                .optional(),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::search::georadiusbymember_ro)),
    command("geosearch", -7, Group::Geo, "6.2.0")
        .summary("Finds the places inside a circle, box or polygon.")
        .complexity(
            "O(N+log(M)), N being the number of places in the bounding box and M the number \
             inside the shape",
        )
        .flags(READONLY)
        .acl(Categories::GEO)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("7.0.0", "Units in upper case."), ("9.0.0", "`BYPOLYGON`.")])
        .arguments(&[
            key("key", 0),
            one_of(
                "from",
                &[
                    string("member").token("FROMMEMBER"),
                    block("fromlonlat", &[double("longitude"), double("latitude")]).token("FROMLONLAT"),
                ],
            )
            .optional(),
            one_of(
                "by",
                &[
                    block(
                        "circle",
                        &[
                            double("radius").token("BYRADIUS"),
                            one_of(
                                "unit",
                                &[
                                    keyword("m", "M"),
                                    keyword("km", "KM"),
                                    keyword("ft", "FT"),
                                    keyword("mi", "MI"),
                                ],
                            ),
                        ],
                    ),
                    block(
                        "box",
                        &[
                            double("width").token("BYBOX"),
                            double("height"),
                            one_of(
                                "unit",
                                &[
                                    keyword("m", "M"),
                                    keyword("km", "KM"),
                                    keyword("ft", "FT"),
                                    keyword("mi", "MI"),
                                ],
                            ),
                        ],
                    ),
                    block(
                        "polygon",
                        &[
                            integer("num-vertices").token("BYPOLYGON"),
                            block("vertices", &[double("longitude"), double("latitude")]).multiple(),
                        ],
                    )
                    .since("9.0.0"),
                ],
            ),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
            block("count-block", &[integer("count").token("COUNT"), keyword("any", "ANY").optional()])
                .optional(),
            keyword("withcoord", "WITHCOORD").optional(),
            keyword("withdist", "WITHDIST").optional(),
            keyword("withhash", "WITHHASH").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::search::geosearch)),
    command("geosearchstore", -8, Group::Geo, "6.2.0")
        .summary("Stores the places inside a circle, box or polygon.")
        .complexity(
            "O(N+log(M)), N being the number of places in the bounding box and M the number \
             inside the shape",
        )
        .flags(WRITE | DENYOOM)
        .acl(Categories::GEO)
        .keys(&[index_key(OW | UPDATE, 1), index_key(RO | ACCESS, 2)])
        .history(&[("7.0.0", "Units in upper case."), ("9.0.0", "`BYPOLYGON`.")])
        .arguments(&[
            key("destination", 0),
            key("source", 1),
            one_of(
                "from",
                &[
                    string("member").token("FROMMEMBER"),
                    block("fromlonlat", &[double("longitude"), double("latitude")]).token("FROMLONLAT"),
                ],
            )
            .optional(),
            one_of(
                "by",
                &[
                    block(
                        "circle",
                        &[
                            double("radius").token("BYRADIUS"),
                            one_of(
                                "unit",
                                &[
                                    keyword("m", "M"),
                                    keyword("km", "KM"),
                                    keyword("ft", "FT"),
                                    keyword("mi", "MI"),
                                ],
                            ),
                        ],
                    ),
                    block(
                        "box",
                        &[
                            double("width").token("BYBOX"),
                            double("height"),
                            one_of(
                                "unit",
                                &[
                                    keyword("m", "M"),
                                    keyword("km", "KM"),
                                    keyword("ft", "FT"),
                                    keyword("mi", "MI"),
                                ],
                            ),
                        ],
                    ),
                    block(
                        "polygon",
                        &[
                            integer("num-vertices").token("BYPOLYGON"),
                            block("vertices", &[double("longitude"), double("latitude")]).multiple(),
                        ],
                    )
                    .since("9.0.0"),
                ],
            ),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
            block("count-block", &[integer("count").token("COUNT"), keyword("any", "ANY").optional()])
                .optional(),
            keyword("storedist", "STOREDIST").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(geo::search::geosearchstore)),
];
