//! LOLWUT: a picture and the version. The words are as in the reference server, the pictures are ours: two drops
//! falling into still water, each place as bright as the sum of their rings.

use super::context::{CommandError, Context, Outcome};
use crate::types::number::parse_f64;
use crate::version::{REDIS_VERSION, VERSION};

const COLUMNS_MAX: i64 = 160;
const ROWS_MAX: i64 = 80;
const SHADES: &[u8] = b" .:-=+*#%@";

/// What to draw.
struct Picture {
    columns: i64,
    rows: i64,
    /// Where the second drop falls, from the first, in units of the picture's width.
    apart: (f64, f64),
}

/// `LOLWUT [VERSION version] [columns rows] [real imaginary]`; versions 5 and 6 take up to three numbers instead.
pub fn lolwut(ctx: &mut Context<'_>) -> Outcome {
    let mut version = 9;
    let mut first = 1;
    if ctx.is_word(1, "version") && ctx.args.len() > 2 {
        version = ctx.integer(2)?;
        first = 3;
    }
    let words = &ctx.args[first..];
    let redis = ctx.config.extended_redis_compatibility;
    let (name, version_text) = if redis { ("Redis", REDIS_VERSION) } else { ("Valkey", VERSION) };
    let mut apart = (ctx.rng.unit() * 2.0 - 1.0, ctx.rng.unit() * 2.0 - 1.0);
    let (columns, rows) = match version {
        5 | 6 => {
            let mut numbers = [66, 20, 0];
            for (at, number) in numbers.iter_mut().enumerate().take(words.len()) {
                *number = ctx.integer(first + at)?;
            }
            (numbers[0], numbers[1])
        }
        9 => {
            if ![0, 2, 4].contains(&words.len()) {
                return Err(CommandError::fixed(
                    "ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]",
                ));
            }
            let size =
                if words.is_empty() { (80, 40) } else { (ctx.integer(first)?, ctx.integer(first + 1)?) };
            if let [_, _, real, imaginary] = words {
                let number = |word| parse_f64(word).filter(|n| n.is_finite()).ok_or(CommandError::NotFloat);
                apart = (number(real)?, number(imaginary)?);
            }
            size
        }
        _ => {
            ctx.reply.verbatim("txt", format!("{name} ver.{version_text}\n").as_bytes());
            return Ok(());
        }
    };
    let picture = Picture { columns: columns.clamp(1, COLUMNS_MAX), rows: rows.clamp(1, ROWS_MAX), apart };
    let mut text = picture.draw();
    text.push_str(&format!(
        "Rings of two drops, the second {:.2} {:+.2}i away\nDon't forget to have fun! {name} ver. {version_text}\n",
        apart.0, apart.1
    ));
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

impl Picture {
    fn draw(&self) -> String {
        let mut text = String::new();
        for row in 0..self.rows {
            for column in 0..self.columns {
                // Characters are about twice as high as wide.
                let x = (column as f64 - self.columns as f64 / 2.0) / self.columns as f64;
                let y = (row as f64 - self.rows as f64 / 2.0) * 2.0 / self.columns as f64;
                let ring = |dx: f64, dy: f64| {
                    let distance = (dx * dx + dy * dy).sqrt();
                    (distance * 40.0).cos() / (1.0 + distance * 3.0)
                };
                let height = ring(x, y) + ring(x - self.apart.0, y - self.apart.1);
                let shade = ((height + 2.0) / 4.0 * (SHADES.len() - 1) as f64).round() as usize;
                text.push(char::from(SHADES[shade.min(SHADES.len() - 1)]));
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Bench;

    #[test]
    fn pictures_have_the_size_asked_for_within_limits() {
        let mut b = Bench::new();
        let text = b.say("LOLWUT 9 3 0.1 0.2");
        let lines: Vec<&str> = text.split("\r\n").nth(1).expect("a bulk string").lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[..3].iter().all(|line| line.len() == 9));
        assert!(lines[4].ends_with("Valkey ver. 9.1.2"));
        let huge = b.say("LOLWUT VERSION 5 99999999 99999999 1");
        assert!(huge.lines().count() < 100);
        assert_eq!(b.say("LOLWUT VERSION 7"), "$17\r\nValkey ver.9.1.2\n\r\n");
        for (command, error) in [
            ("LOLWUT version", "ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]"),
            ("LOLWUT 1 2 3", "ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]"),
            ("LOLWUT x 2", "ERR value is not an integer or out of range"),
            ("LOLWUT 1 2 nan 0", "ERR value is not a valid float"),
            ("LOLWUT VERSION 5 1 x", "ERR value is not an integer or out of range"),
        ] {
            assert_eq!(b.say(command), format!("-{error}\r\n"), "{command}");
        }
    }
}
