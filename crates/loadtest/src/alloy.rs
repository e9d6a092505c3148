//! The configuration that a collector gets here, in Alloy's language: discovery over HTTP, clustered scraping, remote write. One text for all
//! nodes of a fleet, as a cluster demands.

use std::fmt;
use std::time::Duration;

/// A pipeline from service discovery to a receiver; prints itself as a configuration file.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Where the targets are listed.
    pub sd_url: String,
    /// Where samples go.
    pub write_url: String,
    /// How often each target is scraped; the timeout is the same, but 10 s at most.
    pub interval: Duration,
    /// How often the list of targets is read.
    pub refresh: Duration,
    /// The `job` label.
    pub job: String,
    /// Whether the nodes share the targets.
    pub clustering: bool,
    /// How long the sender may wait for a full request; `None` leaves its default.
    pub batch_deadline: Option<Duration>,
    /// Further blocks, appended as they are.
    pub more: String,
}

impl Pipeline {
    /// A clustered pipeline with the usual settings.
    #[must_use]
    pub fn new(sd_url: String, write_url: String, interval: Duration) -> Self {
        Self {
            sd_url,
            write_url,
            interval,
            refresh: Duration::from_secs(5),
            job: "probe".to_owned(),
            clustering: true,
            batch_deadline: None,
            more: String::new(),
        }
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |d: Duration| format!("\"{}ms\"", d.as_millis());
        writeln!(f, "discovery.http \"probe\" {{\n\turl              = {:?}", self.sd_url)?;
        writeln!(f, "\trefresh_interval = {}\n}}\n", ms(self.refresh))?;
        writeln!(f, "prometheus.scrape \"probe\" {{\n\ttargets         = discovery.http.probe.targets")?;
        writeln!(f, "\tforward_to      = [prometheus.remote_write.probe.receiver]\n\tjob_name        = {:?}", self.job)?;
        writeln!(f, "\tscrape_interval = {}", ms(self.interval))?;
        writeln!(f, "\tscrape_timeout  = {}", ms(self.interval.min(Duration::from_secs(10))))?;
        if self.clustering {
            writeln!(f, "\n\tclustering {{\n\t\tenabled = true\n\t}}")?;
        }
        writeln!(f, "}}\n\nprometheus.remote_write \"probe\" {{\n\tendpoint {{\n\t\turl = {:?}", self.write_url)?;
        if let Some(deadline) = self.batch_deadline {
            writeln!(f, "\n\t\tqueue_config {{\n\t\t\tbatch_send_deadline = {}\n\t\t}}", ms(deadline))?;
        }
        writeln!(f, "\t}}\n}}")?;
        if self.more.is_empty() { Ok(()) } else { writeln!(f, "\n{}", self.more) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_prints_as_a_configuration() {
        let mut pipeline =
            Pipeline::new("http://127.0.0.1:1/sd".to_owned(), "http://127.0.0.1:2/api/v1/write".to_owned(), Duration::from_secs(15));
        pipeline.batch_deadline = Some(Duration::from_secs(1));
        let expected = r#"discovery.http "probe" {
	url              = "http://127.0.0.1:1/sd"
	refresh_interval = "5000ms"
}

prometheus.scrape "probe" {
	targets         = discovery.http.probe.targets
	forward_to      = [prometheus.remote_write.probe.receiver]
	job_name        = "probe"
	scrape_interval = "15000ms"
	scrape_timeout  = "10000ms"

	clustering {
		enabled = true
	}
}

prometheus.remote_write "probe" {
	endpoint {
		url = "http://127.0.0.1:2/api/v1/write"

		queue_config {
			batch_send_deadline = "1000ms"
		}
	}
}
"#;
        assert_eq!(pipeline.to_string(), expected);
        let alone = Pipeline { clustering: false, batch_deadline: None, more: "logging {}".to_owned(), ..pipeline }.to_string();
        assert!(!alone.contains("clustering") && !alone.contains("queue_config") && alone.ends_with("}\n\nlogging {}\n"), "{alone}");
    }
}
