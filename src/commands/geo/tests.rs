use super::{hash_of, place};
use crate::commands::testing::Bench;
use crate::types::geohash::text;
use crate::types::number::human_text;

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania | 2 | ZADD g 3479099956230698 Palermo 3479447370796909 Catania | new g; zadd g
        GEOADD g 13.361389 38.115556 Palermo | 0 |  |
        GEOADD edge 180 36.2753 e14 | 1 | ZADD edge 10222451952010577 e14 | new edge; zadd edge
        GEOADD g CH 13.4 38.115556 Palermo | 1 | ZADD g CH 3479100000293410 Palermo | zadd g
        geoadd g NX 13.4 38.115556 Palermo 13.5 38 New | 1 | ZADD g NX 3479100000293410 Palermo 3479097324432493 New | zadd g
        GEOADD nope XX 1 1 a | 0 |  |
        GEOADD g XX CH 1 1 New | 1 | ZADD g XX CH 3377822707026402 New | zadd g
        GEOPOS nope a | 0 |  | keymiss nope
        GEOHASH nope a | 0 |  | keymiss nope
        GEODIST nope a b | 0 |  | keymiss nope
        GEODIST g a b | 0 |  |
        GEOSEARCH nope FROMLONLAT 1 1 BYRADIUS 1 km | 0 |  | keymiss nope
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km | 0 |  |
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km | 2 | GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km | new d; geosearchstore d
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST | 2 | GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST | geosearchstore d
        GEOSEARCHSTORE d nope FROMLONLAT 15 37 BYRADIUS 200 km | 1 | GEOSEARCHSTORE d nope FROMLONLAT 15 37 BYRADIUS 200 km | keymiss nope; del d
        GEOSEARCHSTORE d nope FROMLONLAT 15 37 BYRADIUS 200 km | 0 |  | keymiss nope
        GEORADIUS g 15 37 200 km STORE d | 2 | GEORADIUS g 15 37 200 km STORE d | new d; georadiusstore d
        GEORADIUS g 15 37 200 km STOREDIST d | 2 | GEORADIUS g 15 37 200 km STOREDIST d | georadiusstore d
        GEORADIUS g 0 0 1 m STORE d | 1 | GEORADIUS g 0 0 1 m STORE d | del d
        GEORADIUS g 0 0 1 m STORE d | 0 |  |
        GEORADIUSBYMEMBER g Palermo 1 m STORE d | 1 | GEORADIUSBYMEMBER g Palermo 1 m STORE d | new d; georadiusstore d
        GEORADIUS nope 0 0 1 m STORE d | 1 | GEORADIUS nope 0 0 1 m STORE d | keymiss nope; del d
        GEORADIUS nope 0 0 1 m | 0 |  | keymiss nope
        ",
    );
}

#[test]
fn any_score_turns_into_bits() {
    for (score, bits) in [
        (5.9, 5),
        (-5.9, (-5i64) as u64),
        (1e300, 0),
        (f64::INFINITY, 0),
        (f64::NEG_INFINITY, 1 << 63),
        (9_223_372_036_854_775_808.0, 1 << 63),
    ] {
        assert_eq!(hash_of(score), bits, "{score}");
    }
}

#[test]
fn a_stored_result_drops_the_old_deadline() {
    let mut bench = Bench::new();
    bench.say("GEOADD g 15 37 a");
    bench.say("SET d x EX 100");
    bench.say("GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 1 km");
    assert_eq!(bench.say("TTL d"), ":-1\r\n");
}

/// As GEOPOS and GEOHASH of Valkey 9.1.2 show members that ZADD gave such scores.
#[test]
fn scores_that_are_no_geohashes_still_show_as_places() {
    let (west, south) = ("-179.99999731779098511", "-85.05112751263942528");
    for (score, longitude, latitude, hash) in [
        (-5.0, "180", "85.0511287799999991", "bp05b5048p0"),
        (1e300, west, south, "00bh0hbj200"),
        (f64::INFINITY, west, south, "00bh0hbj200"),
        (f64::NEG_INFINITY, "180", south, "00bh0hbj200"),
        (4_503_599_627_370_496.0, west, "85.0511287799999991", "bp05b5048p0"),
        (1.5, west, "-85.05112497791824921", "00bh0hbj210"),
    ] {
        let point = place(score);
        assert_eq!(String::from_utf8_lossy(&human_text(point.longitude)), longitude, "{score}");
        assert_eq!(String::from_utf8_lossy(&human_text(point.latitude)), latitude, "{score}");
        assert_eq!(String::from_utf8_lossy(&text(hash_of(score))), hash, "{score}");
    }
}
