//! Figures of agents as a table for people.

use super::compare::Measured;

const MIB: f64 = 1024.0 * 1024.0;

/// A table with a row per agent; `-` where nothing was measured.
#[must_use]
pub fn table(measured: &[Measured]) -> String {
    let head = [
        "agent",
        "CPU µs/sample",
        "RSS B/series",
        "wire B/sample",
        "samples/s",
        "cores",
        "RSS MiB",
        "peak MiB",
        "scrapes",
        "samples/scrape",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(measured.iter().map(row));
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            // Names to the left, figures to the right.
            let (before, after) = if column == 0 { ("", pad.as_str()) } else { (pad.as_str(), "") };
            text.extend([before, cell, after, if column + 1 == head.len() { "\n" } else { "  " }]);
        }
    }
    text
}

fn row(m: &Measured) -> [String; 10] {
    let figure = |value: f64, digits: usize| if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() };
    let rate = |value: f64| if m.seconds > 0.0 { value / m.seconds } else { f64::NAN };
    [
        m.agent.clone(),
        figure(m.cpu_us_per_sample, 3),
        figure(m.rss_bytes_per_series, 0),
        figure(m.wire_bytes_per_sample, 1),
        figure(rate(m.samples as f64), 0),
        figure(rate(m.cpu_seconds), 3),
        figure(m.rss_bytes as f64 / MIB, 0),
        figure(m.peak_rss_bytes as f64 / MIB, 0),
        format!("{}/{}", m.scrapes, m.expected_scrapes),
        figure(m.samples_per_scrape, 1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_under_their_heads_and_nothing_measured_is_a_dash() {
        let some = Measured {
            agent: "one".to_owned(),
            seconds: 10.0,
            scrapes: 500,
            expected_scrapes: 500,
            samples: 502_500,
            samples_per_scrape: 1005.0,
            cpu_seconds: 0.5,
            cpu_us_per_sample: 0.995,
            rss_bytes: 100 << 20,
            rss_bytes_per_series: 209.7,
            peak_rss_bytes: 120 << 20,
            wire_bytes_per_sample: 16.93,
            samples_per_request: 2000.0,
        };
        let none =
            Measured { agent: "another".to_owned(), samples: 0, cpu_us_per_sample: f64::NAN, samples_per_scrape: f64::NAN, ..some.clone() };
        let text = table(&[some, none]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|l| l.chars().count() == lines[0].chars().count()), "{text}");
        assert!(
            lines[1].starts_with("one    ") && lines[1].contains("0.995") && lines[1].contains("50250") && lines[1].ends_with("1005.0")
        );
        assert!(lines[2].ends_with('-'));
    }
}
