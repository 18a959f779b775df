//! Geohashes as sorted-set scores: 52 bits that interleave 26 of the latitude and 26 of the longitude, the areas that
//! cover a search, and distances on Valkey's sphere.
//!
//! Coordinates are degrees, distances metres. The projection's latitudes end at ±85.05112878.

const LONGITUDE_MAX: f64 = 180.0;
const LATITUDE_MAX: f64 = 85.051_128_78;
const EARTH_RADIUS: f64 = 6_372_797.560_856;
const MERCATOR_MAX: f64 = 20_037_726.37;
/// Bits per coordinate of a score.
const STEPS: u32 = 26;
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// A place in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

impl Point {
    /// Whether it lies within the range GEOADD accepts.
    pub fn is_valid(self) -> bool {
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&self.longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&self.latitude)
    }
}

/// A cell: `2 * steps` bits, latitude in the even ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    steps: u32,
}

#[derive(Clone, Copy)]
struct Bounds {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

/// Spreads 32 bits over the even ones of 64.
fn spread(value: u32) -> u64 {
    let mut x = value as u64;
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ] {
        x = (x | x << shift) & mask;
    }
    x
}

/// Collects the even bits.
fn squeeze(value: u64) -> u32 {
    let mut x = value & LATITUDE_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        x = (x | x >> shift) & mask;
    }
    x as u32
}

impl Cell {
    fn containing(point: Point, latitude_max: f64, steps: u32) -> Cell {
        let offset = |value: f64, max: f64| (((value + max) / (max + max)) * (1u64 << steps) as f64) as u32;
        let latitude = spread(offset(point.latitude, latitude_max));
        let longitude = spread(offset(point.longitude, LONGITUDE_MAX));
        Cell { bits: latitude | longitude << 1, steps }
    }

    fn bounds(self) -> Bounds {
        let side = |index: u32, max: f64| {
            let at = |i: f64| -max + (i / (1u64 << self.steps) as f64) * (max + max);
            (at(index as f64), at(index as f64 + 1.0))
        };
        Bounds {
            latitude: side(squeeze(self.bits), LATITUDE_MAX),
            longitude: side(squeeze(self.bits >> 1), LONGITUDE_MAX),
        }
    }

    /// The cell that many columns east and rows north, wrapping around.
    fn moved(self, east: i32, north: i32) -> Cell {
        let unused = 64 - 2 * self.steps;
        // A coordinate that does not move keeps bits beyond the cell's, which the very edges of the projection have.
        let step = |own: u64, other: u64, by: i32| {
            // Filling the other coordinate's bits lets the carry run through them.
            let moved = match by {
                0 => return own,
                1.. => own.wrapping_add((other >> unused).wrapping_add(1)),
                _ => (own | other >> unused).wrapping_sub((other >> unused).wrapping_add(1)),
            };
            moved & (!other >> unused)
        };
        let longitude = step(self.bits & LONGITUDE_BITS, LATITUDE_BITS, east);
        let latitude = step(self.bits & LATITUDE_BITS, LONGITUDE_BITS, north);
        Cell { bits: longitude | latitude, steps: self.steps }
    }

    /// The scores in the cell: from the first on, and before the second.
    fn scores(self) -> (u64, u64) {
        let shift = 2 * (STEPS - self.steps);
        (self.bits << shift, (self.bits + 1) << shift)
    }
}

/// The score of a place. The place must be valid.
pub fn encode(point: Point) -> u64 {
    Cell::containing(point, LATITUDE_MAX, STEPS).bits
}

/// The middle of the cell that a score names.
pub fn decode(score: u64) -> Point {
    let bounds = Cell { bits: score, steps: STEPS }.bounds();
    let middle = |(low, high): (f64, f64), max: f64| ((low + high) / 2.0).clamp(-max, max);
    Point {
        longitude: middle(bounds.longitude, LONGITUDE_MAX),
        latitude: middle(bounds.latitude, LATITUDE_MAX),
    }
}

/// The standard geohash text of a score, eleven characters of which the last is always `0`: 52 bits give ten.
pub fn text(score: u64) -> [u8; 11] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    // The standard covers all latitudes up to the poles.
    let bits = Cell::containing(decode(score), 90.0, STEPS).bits;
    std::array::from_fn(|i| if i == 10 { b'0' } else { ALPHABET[(bits >> (52 - 5 * (i + 1))) as usize & 31] })
}

const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// Sine of half a difference in longitude up to which two places lie on one meridian, some nanometres.
const SAME_LONGITUDE: f64 = 1e-15;

fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (b * RADIANS - a * RADIANS).abs()
}

/// Great-circle distance in metres, by the haversine formula.
pub fn distance(a: Point, b: Point) -> f64 {
    let v = ((b.longitude * RADIANS - a.longitude * RADIANS) / 2.0).sin();
    if v.abs() <= SAME_LONGITUDE {
        return latitude_distance(a.latitude, b.latitude);
    }
    let (from, to) = (a.latitude * RADIANS, b.latitude * RADIANS);
    let u = ((to - from) / 2.0).sin();
    let a = u * u + from.cos() * to.cos() * v * v;
    2.0 * EARTH_RADIUS * a.sqrt().asin()
}

/// What a search looks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Radius in metres.
    Circle { centre: Point, radius: f64 },
    /// Width and height in metres.
    Rectangle { centre: Point, width: f64, height: f64 },
    /// At least three corners.
    Polygon { corners: Vec<Point> },
}

impl Shape {
    /// The point distances are measured from; of a polygon, the centroid of its corners on the sphere.
    pub fn centre(&self) -> Point {
        let corners = match self {
            Shape::Circle { centre, .. } | Shape::Rectangle { centre, .. } => return *centre,
            Shape::Polygon { corners } => corners,
        };
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for corner in corners {
            let (longitude, latitude) = (corner.longitude * RADIANS, corner.latitude * RADIANS);
            // On a sphere of radius 1 and without a mean: only the direction counts, and the last bits are Valkey's.
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        Point { longitude: y.atan2(x) / RADIANS, latitude: z.atan2((x * x + y * y).sqrt()) / RADIANS }
    }

    /// The distance from the centre if the shape contains the point.
    pub fn distance_inside(&self, point: Point) -> Option<f64> {
        match self {
            Shape::Circle { centre, radius } => {
                let distance = distance(*centre, point);
                (distance <= *radius).then_some(distance)
            }
            Shape::Rectangle { centre, width, height } => {
                if latitude_distance(point.latitude, centre.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Point { longitude: centre.longitude, latitude: point.latitude };
                if distance(point, beside) > width / 2.0 {
                    return None;
                }
                Some(distance(*centre, point))
            }
            Shape::Polygon { corners } => contains(corners, point).then(|| distance(self.centre(), point)),
        }
    }

    fn bounds(&self) -> Bounds {
        let (centre, width, height) = match self {
            Shape::Circle { centre, radius } => (centre, *radius, *radius),
            Shape::Rectangle { centre, width, height } => (centre, width / 2.0, height / 2.0),
            Shape::Polygon { corners } => {
                let fold = |of: fn(&Point) -> f64, max: f64| {
                    corners.iter().map(of).fold((max, -max), |(low, high), v| (low.min(v), high.max(v)))
                };
                return Bounds {
                    longitude: fold(|p| p.longitude, LONGITUDE_MAX),
                    latitude: fold(|p| p.latitude, LATITUDE_MAX),
                };
            }
        };
        let latitude = height / EARTH_RADIUS / RADIANS;
        // A degree of longitude is shortest on the side nearer to the pole; Valkey takes that side of the northern
        // hemisphere on the north edge, of the southern on the south edge.
        let edge =
            if centre.latitude < 0.0 { centre.latitude - latitude } else { centre.latitude + latitude };
        let longitude = width / EARTH_RADIUS / (edge * RADIANS).cos() / RADIANS;
        Bounds {
            longitude: (centre.longitude - longitude, centre.longitude + longitude),
            latitude: (centre.latitude - latitude, centre.latitude + latitude),
        }
    }

    /// Metres from the centre that the search may reach.
    fn reach(&self, bounds: Bounds) -> f64 {
        match self {
            Shape::Circle { radius, .. } => *radius,
            Shape::Rectangle { width, height, .. } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
            Shape::Polygon { .. } => {
                let centre = self.centre();
                let ((west, east), (south, north)) = (bounds.longitude, bounds.latitude);
                [(west, north), (east, north), (west, south), (east, south)]
                    .map(|(longitude, latitude)| distance(centre, Point { longitude, latitude }))
                    .into_iter()
                    .fold(0.0, f64::max)
            }
        }
    }

    /// Score ranges [from, to) that together hold every member inside the shape, in the order Valkey visits them,
    /// which is the order of unsorted results.
    pub fn score_ranges(&self) -> Vec<(u64, u64)> {
        let bounds = self.bounds();
        let centre = self.centre();
        let mut steps = steps_for(self.reach(bounds), centre.latitude);
        let mut cell = Cell::containing(centre, LATITUDE_MAX, steps);
        let uncovered = cell.moved(0, 1).bounds().latitude.1 < bounds.latitude.1
            || cell.moved(0, -1).bounds().latitude.0 > bounds.latitude.0
            || cell.moved(1, 0).bounds().longitude.1 < bounds.longitude.1
            || cell.moved(-1, 0).bounds().longitude.0 > bounds.longitude.0;
        if steps > 1 && uncovered {
            steps -= 1;
            cell = Cell::containing(centre, LATITUDE_MAX, steps);
        }
        let own = cell.bounds();
        let needed = |east: i32, north: i32| {
            steps < 2
                || !((north < 0 && own.latitude.0 < bounds.latitude.0)
                    || (north > 0 && own.latitude.1 > bounds.latitude.1)
                    || (east < 0 && own.longitude.0 < bounds.longitude.0)
                    || (east > 0 && own.longitude.1 > bounds.longitude.1))
        };
        const AROUND: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut ranges = vec![];
        let mut previous = None;
        for (index, (east, north)) in AROUND.into_iter().enumerate() {
            if !needed(east, north) {
                continue;
            }
            let cell = cell.moved(east, north);
            // With huge areas neighbours coincide. Valkey compares only with the one before, and not with the centre.
            if previous == Some(cell) {
                continue;
            }
            ranges.push(cell.scores());
            if index > 0 {
                previous = Some(cell);
            }
        }
        ranges
    }
}

/// Ray casting: a point is inside when a line to infinity crosses the outline an odd number of times.
fn contains(corners: &[Point], point: Point) -> bool {
    let Some(mut before) = corners.last() else { return false };
    let mut inside = false;
    for corner in corners {
        let (a, b) = (corner, before);
        if (a.latitude > point.latitude) != (b.latitude > point.latitude)
            && point.longitude
                < (b.longitude - a.longitude) * (point.latitude - a.latitude) / (b.latitude - a.latitude)
                    + a.longitude
        {
            inside = !inside;
        }
        before = corner;
    }
    inside
}

/// Bits per coordinate of cells large enough that nine of them cover a circle.
fn steps_for(mut reach: f64, latitude: f64) -> u32 {
    if reach == 0.0 {
        return STEPS;
    }
    let mut steps = 1i32;
    while reach < MERCATOR_MAX {
        reach *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Meridians converge towards the poles.
    if latitude.abs() > 66.0 {
        steps -= 1;
        if latitude.abs() > 80.0 {
            steps -= 1;
        }
    }
    steps.clamp(1, STEPS as i32) as u32
}

#[cfg(test)]
#[path = "geohash_tests.rs"]
mod tests;
