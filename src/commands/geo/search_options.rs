//! The options of GEOSEARCH and of the older GEORADIUS family, read in Valkey's order of checks.

use super::{arguments, place, score};
use crate::commands::strings::options::is_option;
use crate::commands::{CommandError, Context};
use crate::types::geohash::{Point, Shape};
use crate::types::number::parse_i64;

/// The commands that search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GEORADIUS: around a place
    Around { may_store: bool },
    /// GEORADIUSBYMEMBER
    AroundMember { may_store: bool },
    /// GEOSEARCH
    Search,
    /// GEOSEARCHSTORE
    SearchStore,
}

/// The order of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Unsorted,
    Nearest,
    Farthest,
}

/// Where results go instead of to the client.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub key: &'a [u8],
    /// Scores are distances instead of geohashes.
    pub distances: bool,
}

/// One search.
pub struct Search<'a> {
    /// Absent if the source does not exist, when there is nothing to search either.
    pub shape: Option<Shape>,
    /// Metres in the unit of the results.
    pub unit: f64,
    pub order: Order,
    /// 0: all.
    pub count: usize,
    /// The first `count` found will do.
    pub any: bool,
    pub with_distance: bool,
    pub with_hash: bool,
    pub with_coordinates: bool,
    pub target: Option<Target<'a>>,
}

/// The centre and area said so far.
#[derive(Default)]
struct Area {
    from_member: bool,
    from_place: bool,
    centre: Option<Point>,
    /// Radius in metres.
    circle: Option<f64>,
    /// Width and height in metres.
    rectangle: Option<(f64, f64)>,
    polygon: Option<Vec<Point>>,
}

impl Area {
    fn shape(self) -> Option<Shape> {
        if let Some(corners) = self.polygon {
            return Some(Shape::Polygon { corners });
        }
        let centre = self.centre?;
        match (self.circle, self.rectangle) {
            (Some(radius), _) => Some(Shape::Circle { centre, radius }),
            (None, Some((width, height))) => Some(Shape::Rectangle { centre, width, height }),
            (None, None) => None,
        }
    }
}

impl<'a> Search<'a> {
    /// Reads the request. `source` is the key searched, which a lookup of this command has tested; `exists` is what it
    /// found.
    pub fn parse(ctx: &Context<'a>, kind: Kind, source: &[u8], exists: bool) -> Result<Self, CommandError> {
        let args = ctx.args;
        let mut area = Area::default();
        let mut search = Search {
            shape: None,
            unit: 1.0,
            order: Order::Unsorted,
            count: 0,
            any: false,
            with_distance: false,
            with_hash: false,
            with_coordinates: false,
            target: None,
        };
        let options_at = match kind {
            Kind::Around { .. } => {
                area.centre = Some(arguments::point(args[2], args[3])?);
                search.take_circle(&mut area, args[4], args[5])?;
                6
            }
            Kind::AroundMember { .. } => {
                // Without a source only the options behind are still looked at.
                if exists {
                    area.centre = Some(member_place(ctx, source, args[2])?);
                    search.take_circle(&mut area, args[3], args[4])?;
                }
                5
            }
            Kind::Search => 2,
            Kind::SearchStore => {
                search.target = Some(Target { key: args[1], distances: false });
                3
            }
        };
        let mut rest = &args[options_at..];
        while let Some((word, behind)) = rest.split_first() {
            let used = match search.take_common(word, behind, kind)? {
                Some(used) => used,
                None => search
                    .take_area(ctx, &mut area, word, behind, kind, source, exists)?
                    .ok_or(CommandError::Syntax)?,
            };
            rest = &behind[used..];
        }
        search.check(&area, kind, ctx.arg(0))?;
        if exists {
            search.shape = area.shape();
        }
        Ok(search)
    }

    fn take_circle(&mut self, area: &mut Area, amount: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let (radius, unit) = arguments::radius(amount, unit)?;
        area.circle = Some(radius);
        self.unit = unit;
        Ok(())
    }

    /// Options that say what to do with results. Returns how many words behind the option belong to it.
    fn take_common(
        &mut self,
        word: &[u8],
        behind: &[&'a [u8]],
        kind: Kind,
    ) -> Result<Option<usize>, CommandError> {
        let is = |name| is_option(word, name);
        let may_store =
            matches!(kind, Kind::Around { may_store: true } | Kind::AroundMember { may_store: true });
        if is("withdist") {
            self.with_distance = true;
        } else if is("withhash") {
            self.with_hash = true;
        } else if is("withcoord") {
            self.with_coordinates = true;
        } else if is("any") {
            self.any = true;
        } else if is("asc") {
            self.order = Order::Nearest;
        } else if is("desc") {
            self.order = Order::Farthest;
        } else if is("count") && !behind.is_empty() {
            let count = parse_i64(behind[0]).ok_or(CommandError::NotInteger)?;
            if count <= 0 {
                return Err(CommandError::fixed("ERR COUNT must be > 0"));
            }
            self.count = usize::try_from(count).unwrap_or(usize::MAX);
            return Ok(Some(1));
        } else if may_store && (is("store") || is("storedist")) && !behind.is_empty() {
            self.target = Some(Target { key: behind[0], distances: is("storedist") });
            return Ok(Some(1));
        } else if kind == Kind::SearchStore && is("storedist") {
            self.target = self.target.map(|target| Target { distances: true, ..target });
        } else {
            return Ok(None);
        }
        Ok(Some(0))
    }

    /// Options of GEOSEARCH that say where. Returns how many words behind the option belong to it.
    #[expect(clippy::too_many_arguments, reason = "one call; a struct for it would say nothing more")]
    fn take_area(
        &mut self,
        ctx: &Context<'_>,
        area: &mut Area,
        word: &[u8],
        behind: &[&[u8]],
        kind: Kind,
        source: &[u8],
        exists: bool,
    ) -> Result<Option<usize>, CommandError> {
        if !matches!(kind, Kind::Search | Kind::SearchStore) {
            return Ok(None);
        }
        let is = |name, needed| behind.len() >= needed && is_option(word, name);
        let polygon = area.polygon.is_some();
        if is("frommember", 1) && !area.from_place && !polygon {
            if exists {
                area.centre = Some(member_place(ctx, source, behind[0])?);
            }
            area.from_member = true;
            return Ok(Some(1));
        }
        if is("fromlonlat", 2) && !area.from_member && !polygon {
            area.centre = Some(arguments::point(behind[0], behind[1])?);
            area.from_place = true;
            return Ok(Some(2));
        }
        if is("byradius", 2) && area.rectangle.is_none() && !polygon {
            self.take_circle(area, behind[0], behind[1])?;
            return Ok(Some(2));
        }
        if is("bybox", 3) && area.circle.is_none() && !polygon {
            let (width, height, unit) = arguments::rectangle(behind[0], behind[1], behind[2])?;
            area.rectangle = Some((width, height));
            self.unit = unit;
            return Ok(Some(3));
        }
        let other = area.from_member || area.from_place || area.circle.is_some() || area.rectangle.is_some();
        if is("bypolygon", POLYGON_WORDS_MIN) && !other {
            let corners = polygon_corners(behind)?;
            let used = 1 + corners.len() * 2;
            area.polygon = Some(corners);
            return Ok(Some(used));
        }
        Ok(None)
    }

    fn check(&mut self, area: &Area, kind: Kind, name: &[u8]) -> Result<(), CommandError> {
        if self.target.is_some() && (self.with_distance || self.with_hash || self.with_coordinates) {
            let what = if kind == Kind::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(CommandError::text(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if matches!(kind, Kind::Search | Kind::SearchStore) && area.polygon.is_none() {
            if !(area.from_member || area.from_place) {
                let line = "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
                return Err(CommandError::quoting(line, name, ""));
            }
            if area.circle.is_none() && area.rectangle.is_none() {
                let line = "ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for ";
                return Err(CommandError::quoting(line, name, ""));
            }
        }
        if self.any && self.count == 0 {
            return Err(CommandError::fixed("ERR the ANY argument requires COUNT argument"));
        }
        // A count without order means the nearest, unless any will do.
        if self.count > 0 && self.order == Order::Unsorted && !self.any {
            self.order = Order::Nearest;
        }
        Ok(())
    }
}

/// Words behind BYPOLYGON below which it is not taken for the option.
const POLYGON_WORDS_MIN: usize = 2;

/// `num-vertices longitude latitude ...`
fn polygon_corners(behind: &[&[u8]]) -> Result<Vec<Point>, CommandError> {
    let count = parse_i64(behind[0])
        .and_then(|n| i32::try_from(n).ok())
        .ok_or(CommandError::fixed("ERR invalid number of vertices"))?;
    let too_few = CommandError::fixed("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices");
    let count = usize::try_from(count).map_err(|_| too_few.clone())?;
    let words = behind[1..].get(..count.saturating_mul(2)).filter(|_| count >= 3).ok_or(too_few)?;
    words.chunks_exact(2).map(|pair| arguments::point(pair[0], pair[1])).collect()
}

fn member_place(ctx: &Context<'_>, key: &[u8], member: &[u8]) -> Result<Point, CommandError> {
    score(ctx, key, member).map(place).ok_or_else(|| {
        let shown = member.split(|byte| *byte == 0).next().unwrap_or(member);
        CommandError::Bytes([b"ERR member ", shown, b" does not exist"].concat())
    })
}
