//! The decoder of requests. The first bytes choose limits and cuts, the rest is what a client sends.

use skuld::resp::decode::{DecodeLimits, Decoder, ProtocolError, Requests};
use skuld::rng::Rng;

const BULK_MAX: i64 = 4096;

type Commands = Vec<Vec<Vec<u8>>>;

/// Feeds `wire` in pieces of the given lengths, taken round and round, handing complete requests away as a
/// connection does.
fn decode(wire: &[u8], limits: DecodeLimits, cuts: &[usize]) -> (Commands, Result<(), ProtocolError>) {
    let mut decoder = Decoder::default();
    let (mut out, mut rest) = (Requests::default(), Requests::default());
    let (mut buf, mut got) = (Vec::new(), Vec::new());
    let (mut at, mut cuts) = (0, cuts.iter().cycle());
    while at < wire.len() {
        let take = cuts.next().map_or(wire.len(), |&cut| cut.max(1)).min(wire.len() - at);
        buf.extend_from_slice(&wire[at..at + take]);
        at += take;
        let result = decoder.decode(&mut buf, limits, &mut out);
        for request in 0..out.len() {
            let args: Vec<Vec<u8>> =
                out.args(request).iter().map(|s| buf[s.start..s.start + s.len].to_vec()).collect();
            assert!(!args.is_empty(), "a request has at least its name");
            assert!(args.iter().all(|arg| arg.len() as i64 <= BULK_MAX.max(64 * 1024)));
            assert!(out.requests[request].wire_bytes > 0);
            got.push(args);
        }
        if let Err(error) = result {
            return (got, Err(error));
        }
        let complete = decoder.complete_bytes();
        assert!(complete <= decoder.position() && decoder.position() <= buf.len());
        // What is awaited is never more than a limit allows, whatever the client claims.
        assert!(decoder.wanted(buf.len()) as i64 <= BULK_MAX + 2);
        decoder.rebase(&mut out, &mut rest);
        buf.drain(..complete);
        std::mem::swap(&mut out, &mut rest);
    }
    (got, Ok(()))
}

/// However the bytes are cut, the same requests come out, ending in the same error.
pub fn run(data: &[u8]) {
    let Some((head, wire)) = data.split_at_checked(4) else { return };
    let limits = DecodeLimits { bulk_max: BULK_MAX, authenticated: head[0] & 1 == 0 };
    let cuts: Vec<usize> = head[1..].iter().map(|&cut| usize::from(cut)).collect();
    let whole = decode(wire, limits, &[]);
    assert_eq!(decode(wire, limits, &cuts), whole, "cut at {cuts:?}");
    if wire.len() < 512 {
        assert_eq!(decode(wire, limits, &[1]), whole, "byte by byte");
    }
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let mut data: Vec<u8> = (0..4).map(|_| rng.next_u64() as u8 % 40).collect();
    for _ in 0..rng.below(6) {
        let args: Vec<&[u8]> = (0..rng.below(5)).map(|_| crate::pick(rng, WORDS)).collect();
        if crate::one_in(rng, 3) {
            data.extend(args.join(&b' '));
            data.extend(if crate::one_in(rng, 2) { &b"\n"[..] } else { b"\r\n" });
        } else {
            skuld::effects::encode_command(&mut data, &args);
        }
    }
    data
}

const WORDS: &[&[u8]] = &[
    b"GET",
    b"k",
    b"",
    b"\"",
    b"'",
    b"\\x41",
    b"\"a b\"",
    b"'it\\'s'",
    b"*1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"\r\n",
    b"\n",
    b"*2147483647\r\n",
    b"*2147483648\r\n",
    b"$4096\r\n",
    b"$4097\r\n",
    b"*11\r\n",
    b"$9223372036854775807\r\n",
    b"*01\r\n",
    b"\0",
    b"\xff\xfe",
];

pub fn words() -> Vec<&'static [u8]> {
    WORDS.to_vec()
}
