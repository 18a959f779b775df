use super::super::number::{fixed4_text, human_text};
use super::*;
use proptest::prelude::*;

fn utf8(text: Vec<u8>) -> String {
    String::from_utf8(text).expect("geohashes are ASCII")
}

/// Answers of Valkey 9.1.2 to ZSCORE, GEOHASH, GEOPOS and GEODIST.
#[test]
fn scores_and_texts_are_those_of_valkey() {
    let palermo = Point { longitude: 13.361389, latitude: 38.115556 };
    let catania = Point { longitude: 15.087269, latitude: 37.502669 };
    assert_eq!(encode(palermo), 3_479_099_956_230_698);
    assert_eq!(utf8(text(encode(palermo)).to_vec()), "sqc8b49rny0");
    let place = decode(encode(palermo));
    assert_eq!(utf8(human_text(place.longitude)), "13.36138933897018433");
    assert_eq!(utf8(human_text(place.latitude)), "38.11555639549629859");
    assert_eq!(utf8(fixed4_text(distance(place, decode(encode(catania))))), "166274.1516");
}

fn point() -> impl Strategy<Value = Point> {
    (-180.0f64..180.0, -85.0f64..85.0).prop_map(|(longitude, latitude)| Point { longitude, latitude })
}

proptest! {
    #[test]
    fn decoding_is_near(p in point()) {
        let q = decode(encode(p));
        prop_assert!(distance(p, q) < 1.0);
        prop_assert_eq!(encode(q), encode(p));
    }

    /// Away from the poles and the antimeridian, where Valkey's covering is complete.
    #[test]
    fn ranges_cover_the_shape(
        longitude in -120.0f64..120.0,
        latitude in -60.0f64..60.0,
        size in 1.0f64..500_000.0,
        near in (-1.0f64..1.0, -1.0f64..1.0),
    ) {
        let centre = Point { longitude, latitude };
        let degrees = size / 100_000.0;
        let p = Point { longitude: longitude + near.0 * degrees, latitude: latitude + near.1 * degrees };
        let corner = |x: f64, y: f64| Point { longitude: longitude + x * degrees, latitude: latitude + y * degrees };
        for shape in [
            Shape::Circle { centre, radius: size },
            Shape::Rectangle { centre, width: size, height: size / 3.0 },
            Shape::Polygon { corners: vec![corner(-1.0, -1.0), corner(1.0, -0.5), corner(0.2, 1.0)] },
        ] {
            let score = encode(p);
            if shape.distance_inside(decode(score)).is_some() {
                prop_assert!(shape.score_ranges().iter().any(|r| (r.0..r.1).contains(&score)), "{shape:?}");
            }
        }
    }
}
