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
    /// How many endpoints samples are sent to: the same receiver under as many names.
    pub endpoints: usize,
    /// How many rules relabel the metrics on the way; all of them look, none changes much.
    pub relabel_rules: usize,
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
            endpoints: 1,
            relabel_rules: 0,
            more: String::new(),
        }
    }
}

impl Pipeline {
    /// Rules as people have them: some drop, some copy, some rewrite.
    fn relabel(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.relabel_rules == 0 {
            return Ok(());
        }
        writeln!(f, "\nprometheus.relabel \"probe\" {{\n\tforward_to = [prometheus.remote_write.probe.receiver]")?;
        for number in 0..self.relabel_rules {
            let rule = match number % 4 {
                0 => "source_labels = [\"__name__\"]\n\t\tregex = \"go_gc_.*|never_there\"\n\t\taction = \"drop\"".to_owned(),
                1 => format!("source_labels = [\"instance\"]\n\t\ttarget_label = \"host{number}\""),
                2 => "regex = \"unwanted_.*\"\n\t\taction = \"labeldrop\"".to_owned(),
                _ => "source_labels = [\"job\", \"device\"]\n\t\tregex = \"probe;(veth|nvme)(.*)\"\n\t\ttarget_label = \"kind\"\n\t\treplacement = \"$1\"".to_owned(),
            };
            writeln!(f, "\n\trule {{\n\t\t{rule}\n\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |d: Duration| format!("\"{}ms\"", d.as_millis());
        writeln!(f, "discovery.http \"probe\" {{\n\turl              = {:?}", self.sd_url)?;
        writeln!(f, "\trefresh_interval = {}\n}}\n", ms(self.refresh))?;
        writeln!(f, "prometheus.scrape \"probe\" {{\n\ttargets         = discovery.http.probe.targets")?;
        let next = if self.relabel_rules > 0 { "relabel" } else { "remote_write" };
        writeln!(f, "\tforward_to      = [prometheus.{next}.probe.receiver]\n\tjob_name        = {:?}", self.job)?;
        writeln!(f, "\tscrape_interval = {}", ms(self.interval))?;
        writeln!(f, "\tscrape_timeout  = {}", ms(self.interval.min(Duration::from_secs(10))))?;
        if self.clustering {
            writeln!(f, "\n\tclustering {{\n\t\tenabled = true\n\t}}")?;
        }
        writeln!(f, "}}")?;
        self.relabel(f)?;
        writeln!(f, "\nprometheus.remote_write \"probe\" {{")?;
        for number in 1..=self.endpoints {
            writeln!(f, "\tendpoint {{\n\t\turl = {:?}", self.write_url)?;
            if number > 1 {
                writeln!(f, "\t\tname = \"probe-{number}\"")?;
            }
            if let Some(deadline) = self.batch_deadline {
                writeln!(f, "\n\t\tqueue_config {{\n\t\t\tbatch_send_deadline = {}\n\t\t}}", ms(deadline))?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")?;
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
        let three = Pipeline { endpoints: 3, relabel_rules: 8, ..pipeline.clone() }.to_string();
        assert_eq!((three.matches("endpoint {").count(), three.matches("rule {").count()), (3, 8), "{three}");
        assert!(three.contains("forward_to      = [prometheus.relabel.probe.receiver]"), "{three}");
        let alone = Pipeline { clustering: false, batch_deadline: None, more: "logging {}".to_owned(), ..pipeline }.to_string();
        assert!(!alone.contains("clustering") && !alone.contains("queue_config") && alone.ends_with("}\n\nlogging {}\n"), "{alone}");
    }
}
