//! Requests of remote write 2.0 as tests write them.

pub use proto::write_v2::{Exemplar, Histogram, Metadata, Request, Sample, TimeSeries, histogram};

/// Collects symbols while a request is written.
#[derive(Default)]
pub struct Symbols(Vec<String>);

impl Symbols {
    pub fn of(&mut self, text: &str) -> u32 {
        if self.0.is_empty() {
            self.0.push(String::new());
        }
        let at = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        at as u32
    }

    pub fn labels(&mut self, labels: &[(&str, &str)]) -> Vec<u32> {
        labels.iter().flat_map(|(name, value)| [*name, *value]).map(|text| self.of(text)).collect()
    }

    pub fn request(mut self, timeseries: Vec<TimeSeries>) -> Request {
        self.of("");
        Request { symbols: self.0, timeseries }
    }
}
