//! Coordinates, distances and units as geospatial commands read them.

use crate::commands::CommandError;
use crate::commands::strings::options::is_option;
use crate::types::geohash::Point;
use crate::types::number::parse_f64;

/// Metres in a unit.
pub fn unit(word: &[u8]) -> Result<f64, CommandError> {
    let units = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = units.iter().find(|(name, _)| is_option(word, name));
    found
        .map(|(_, metres)| *metres)
        .ok_or(CommandError::fixed("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// A place on the projection.
pub fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let number = |word| parse_f64(word).ok_or(CommandError::NotFloat);
    let point = Point { longitude: number(longitude)?, latitude: number(latitude)? };
    if point.is_valid() {
        return Ok(point);
    }
    let Point { longitude, latitude } = point;
    Err(CommandError::text(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// A radius with its unit: metres, and metres in the unit.
pub fn radius(amount: &[u8], word: &[u8]) -> Result<(f64, f64), CommandError> {
    let amount = parse_f64(amount).ok_or(CommandError::fixed("ERR need numeric radius"))?;
    if amount < 0.0 {
        return Err(CommandError::fixed("ERR radius cannot be negative"));
    }
    let unit = unit(word)?;
    Ok((amount * unit, unit))
}

/// Width and height with their unit: metres, and metres in the unit.
pub fn rectangle(width: &[u8], height: &[u8], word: &[u8]) -> Result<(f64, f64, f64), CommandError> {
    let width = parse_f64(width).ok_or(CommandError::fixed("ERR need numeric width"))?;
    let height = parse_f64(height).ok_or(CommandError::fixed("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::fixed("ERR height or width cannot be negative"));
    }
    let unit = unit(word)?;
    Ok((width * unit, height * unit, unit))
}
