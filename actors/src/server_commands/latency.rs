//! LATENCY: what the latency monitor and the histograms of commands hold.

use skuld::commands::context::CommandError;
use skuld::commands::table::{Command, commands};

use super::{Outcome, Request};
use crate::latency_monitor::Series;

/// Runs the subcommand.
pub fn run(request: &mut Request) -> Outcome {
    match request.command.spec.name {
        "latency|latest" => latest(request),
        "latency|history" => history(request),
        "latency|reset" => {
            let count = request.server.latency.reset(&request.args[2..]);
            request.reply.integer(count as i64);
            Ok(())
        }
        "latency|graph" => graph(request),
        "latency|doctor" => {
            let text = diagnosis(request);
            request.reply.verbatim("txt", text.as_bytes());
            Ok(())
        }
        "latency|histogram" => histogram(request),
        name => Err(CommandError::text(format!("ERR unknown subcommand '{name}'"))),
    }
}

fn latest(request: &mut Request) -> Outcome {
    let all = request.server.latency.all();
    let reply = &mut request.reply;
    reply.array(all.len());
    for (event, series) in all {
        let (at, ms) = series.samples.back().copied().unwrap_or_default();
        reply.array(6);
        reply.bulk(event.as_bytes());
        for n in [at, ms as i64, series.max_ms as i64, series.sum_ms as i64, series.count as i64] {
            reply.integer(n);
        }
    }
    Ok(())
}

fn history(request: &mut Request) -> Outcome {
    let samples = request.server.latency.get(&request.args[2]).unwrap_or_default().samples;
    request.reply.array(samples.len());
    for (at, ms) in samples {
        request.reply.array(2);
        request.reply.integer(at);
        request.reply.integer(ms as i64);
    }
    Ok(())
}

fn graph(request: &mut Request) -> Outcome {
    let event = &request.args[2];
    let Some(series) = request.server.latency.get(event) else {
        let line = [b"ERR No samples available for event '".as_slice(), event, b"'"].concat();
        return Err(CommandError::Bytes(line));
    };
    let name = String::from_utf8_lossy(event).to_ascii_lowercase();
    let text = draw(&name, &series, crate::clock::unix_ms() / 1000);
    request.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// How long ago, in the largest unit that fits: `5s`, `3m`, `2h`, `1d`.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m", s / 60),
        s if s < 86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// A column per sample: bars of four rows, and the age written downwards below.
fn draw(event: &str, series: &Series, now_s: i64) -> String {
    /// Newest samples that fit beside each other, and rows of the bars.
    const COLUMNS_MAX: usize = 80;
    const ROWS: u64 = 4;
    /// A row's cell, from low to high.
    const LEVELS: [char; 3] = ['_', 'o', '#'];
    let skip = series.samples.len().saturating_sub(COLUMNS_MAX);
    let samples: Vec<(i64, u64)> = series.samples.iter().skip(skip).copied().collect();
    let low = samples.iter().map(|s| s.1).min().unwrap_or(0);
    let high = samples.iter().map(|s| s.1).max().unwrap_or(0);
    let mut out = format!(
        "{event} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        series.max_ms,
        "-".repeat(COLUMNS_MAX)
    );
    let steps = ROWS * LEVELS.len() as u64;
    let height = |ms: u64| if high == low { 0 } else { (ms - low) * (steps - 1) / (high - low) };
    for row in (0..ROWS).rev() {
        for &(_, ms) in &samples {
            let (at, level) = (height(ms) / LEVELS.len() as u64, height(ms) % LEVELS.len() as u64);
            out.push(match at.cmp(&row) {
                std::cmp::Ordering::Less => ' ',
                std::cmp::Ordering::Equal => LEVELS[level as usize],
                std::cmp::Ordering::Greater => '|',
            });
        }
        out.push('\n');
    }
    out.push('\n');
    let labels: Vec<Vec<char>> = samples.iter().map(|&(at, _)| age(now_s - at).chars().collect()).collect();
    for row in 0..labels.iter().map(Vec::len).max().unwrap_or(0) {
        out.extend(labels.iter().map(|label| label.get(row).copied().unwrap_or(' ')));
        out.push('\n');
    }
    out
}

fn diagnosis(request: &Request) -> String {
    let threshold = request.server.config.load().latency_monitor_threshold;
    if threshold == 0 {
        return "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> switches it on.\n"
            .to_owned();
    }
    let all = request.server.latency.all();
    if all.is_empty() {
        return format!("No event took {threshold} ms or more since monitoring was switched on.\n");
    }
    let mut text = format!("Events that took {threshold} ms or more:\n\n");
    for (number, (event, series)) in all.iter().enumerate() {
        let n = series.samples.len().max(1) as u64;
        let average = series.samples.iter().map(|s| s.1).sum::<u64>() / n;
        let deviation = series.samples.iter().map(|s| s.1.abs_diff(average)).sum::<u64>() / n;
        let first = series.samples.front().map_or(0, |s| s.0);
        let period = (crate::clock::unix_ms() / 1000 - first).max(1) as f64 / n as f64;
        text += &format!(
            "{}. {event}: {} spikes (average {average}ms, mean deviation {deviation}ms, one in {period:.2} sec). \
             Worst: {}ms.\n",
            number + 1,
            series.samples.len(),
            series.max_ms
        );
    }
    text += "\nWhere to look next:\n\
             - SLOWLOG GET shows the commands that took long.\n\
             - ACTOR HISTOGRAM shows which messages ran or waited long, ACTOR TRACE what caused them.\n";
    text
}

fn histogram(request: &mut Request) -> Outcome {
    let wanted: Vec<&Command> = if request.args.len() == 2 {
        commands().iter().collect()
    } else {
        let mut wanted = Vec::new();
        for word in &request.args[2..] {
            let Some(command) = skuld::commands::table::original_table().lookup_full_name(word) else {
                continue;
            };
            // A container stands for its subcommands.
            if command.is_container() {
                wanted.extend(command.built_subcommands());
            } else {
                wanted.push(command);
            }
        }
        wanted
    };
    let figures: Vec<_> = wanted
        .into_iter()
        .map(|command| (command, request.server.stats.of_command(usize::from(command.id))))
        .filter(|(_, sum)| sum.latency.count > 0)
        .collect();
    let reply = &mut request.reply;
    reply.map(figures.len());
    for (command, sum) in figures {
        reply.bulk(command.name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(sum.latency.count as i64);
        reply.bulk(b"histogram_usec");
        // How many calls took at most so many microseconds, for doubling limits.
        let mut buckets: Vec<(u64, u64)> = Vec::new();
        let mut total = 0;
        for (end_ns, count) in sum.latency.buckets() {
            total += count;
            let limit = (end_ns / 1000).max(1).next_power_of_two();
            match buckets.last_mut() {
                Some((last, seen)) if *last == limit => *seen = total,
                _ => buckets.push((limit, total)),
            }
        }
        reply.map(buckets.len());
        for (limit, seen) in buckets {
            reply.integer(limit as i64);
            reply.integer(seen as i64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_bars_and_ages() {
        let mut series = Series { max_ms: 40, ..Series::default() };
        series.samples.extend([(900, 10), (990, 40)]);
        let text = draw("command", &series, 1000);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 40 ms)");
        assert_eq!(&lines[2..6], [" #", " |", " |", "_|"]);
        assert_eq!(&lines[7..], ["11", "m0", " s"]);
    }
}
