//! The command line as a stranger meets it: broken files, wrong flags, reloads, signals, secrets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use loadtest::process::{Process, Signal};
use support::{PATIENCE, collector, free_port, get, until};
use tokio::process::Command;

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(collector());
    command.args(arguments).kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(20), command.output()).await.expect("ends within 20 s").unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A collector that runs `config` until it is dropped.
struct Running {
    process: Process,
    address: String,
    config: std::path::PathBuf,
}

impl Running {
    async fn start(folder: &Path, config: &str) -> Self {
        let path = folder.join("config.alloy");
        std::fs::write(&path, config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(collector());
        command.arg("run").arg(format!("--server.http.listen-addr={address}"));
        command.arg(format!("--storage.path={}", folder.join("data").display())).arg(&path);
        let process = Process::spawn("collector", command, &folder.join("log")).unwrap();
        process.ready(&format!("http://{address}/-/ready"), Duration::from_secs(20)).await.unwrap();
        Self { process, address, config: path }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(&format!("http://{}{path}", self.address)).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap()
    }
}

#[tokio::test]
async fn a_broken_file_tells_all_errors_with_places_and_nearest_names_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.alloy");
    let source = "prometheus.relable \"a\" { forward_to = [] }\nprometheus.scrape \"b\" {\n\ttargets = []\n\tforward_to = []\n\t\
                  scrape_intervall = \"5s\"\n}\nprometheus.relabel \"c\" { forward_to = [prometheus.remote_write.nope.receiver] }\n";
    std::fs::write(&file, source).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [vec!["run", "--server.http.listen-addr=127.0.0.1:0", file], vec!["validate", file]] {
        let output = run(&arguments).await;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in ["broken.alloy:1:1", "prometheus.relabel", "broken.alloy:5:2", "scrape_interval", "broken.alloy:7:", "does not exist"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("listening"), "{text}");
    }
}

#[tokio::test]
async fn wrong_values_are_told_all_at_once_too_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.alloy");
    let source = "prometheus.scrape \"slow\" {\n\ttargets = discovery.file.f.targets\n\tforward_to = [prometheus.remote_write.w.receiver]\n\t\
                  scrape_interval = \"5s\"\n\tscrape_timeout = \"9s\"\n}\n\
                  prometheus.relabel \"r\" {\n\tforward_to = [prometheus.remote_write.w.reciever]\n\trule {\n\t\tregex = \"(\"\n\t}\n}\n\
                  prometheus.remote_write \"w\" {\n\tendpoint {\n\t\turl = \"http://127.0.0.1:1/\"\n\t\tqueue_config {\n\t\t\tmin_shards = 0\n\t\t}\n\t}\n}\n\
                  discovery.file \"f\" {\n\tfiles = [\"/tmp/*.toml\"]\n}\nlogging {\n\tlevel = \"loud\"\n}\n";
    std::fs::write(&file, source).unwrap();
    let file = file.to_str().unwrap();
    // A peer that would see this node dial.
    let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap().to_string();
    for arguments in [vec!["join", "--peers", &address, "--server.http.listen-addr=127.0.0.1:0", file], vec!["validate", file]] {
        let output = run(&arguments).await;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in [
            "broken.alloy:1:1: scrape_timeout (9s) greater than scrape_interval (5s)",
            "broken.alloy:8:",
            "did you mean `receiver`?",
            "broken.alloy:7:1",
            "broken.alloy:13:1",
            "min_shards",
            "broken.alloy:21:1",
            "toml",
            "broken.alloy:25:",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("listening"), "{text}");
    }
    peer.set_nonblocking(true).unwrap();
    assert!(peer.accept().is_err(), "nobody was dialled");
}

#[tokio::test]
async fn what_only_works_with_a_warning_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.alloy");
    std::fs::write(&file, "logging {\n\tlevel = 'info' # as loud as usual\n}\n").unwrap();
    let output = run(&["validate", file.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("seed.alloy:2:"), "{}", stderr(&output));
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_names_the_nearest_flag() {
    let output = run(&["run", "--cluster.enable", "x.alloy"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--cluster.enabled"), "{}", stderr(&output));
    let output = run(&["run", "--cluster.enable-tls", "x.alloy"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--cluster.tls-ca-path"), "{}", stderr(&output));
    let output = run(&["run", "--server.http.enable-graphql", "x.alloy"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not supported yet"), "{}", stderr(&output));
    let output = run(&["run", "missing.alloy"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("missing.alloy"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_source_of_peers_that_is_not_supported_is_named_and_its_arguments_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.alloy");
    std::fs::write(&file, "").unwrap();
    let pairs = "--cluster.discover-peers=provider=aws tag_value=hunter2";
    let output = run(&["run", "--cluster.enabled", pairs, "--server.http.listen-addr=127.0.0.1:0", file.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("provider aws is not supported") && text.contains("k8s") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn fmt_formats_tests_and_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.alloy");
    std::fs::write(&file, "logging{\nlevel='info' # why\n}\n").unwrap();
    let name = file.to_str().unwrap();
    let formatted = "logging {\n\tlevel = \"info\" // why\n}\n";
    assert_eq!(run(&["fmt", "-t", name]).await.status.code(), Some(1));
    assert_eq!(String::from_utf8(run(&["fmt", name]).await.stdout).unwrap(), formatted);
    assert_eq!(run(&["fmt", "-w", name]).await.status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), formatted);
    assert_eq!(run(&["fmt", "-t", name]).await.status.code(), Some(0));
    assert_eq!(run(&["fmt", "-w", "-"]).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_reload_leaves_the_old_graph_and_a_good_one_is_taken_by_every_way() {
    let folder = tempfile::tempdir().unwrap();
    let echo = |label: &str| format!("prometheus.relabel \"{label}\" {{\n\tforward_to = []\n}}\n");
    let running = Running::start(folder.path(), &echo("one")).await;
    let has = |label: &'static str| {
        let running = &running;
        async move { running.get("/api/v0/web/components").await.1.contains(&format!("prometheus.relabel.{label}\"")) }
    };
    assert!(has("one").await);

    std::fs::write(&running.config, "prometheus.relabel \"two\" {\n").unwrap();
    let (status, text) = running.get("/-/reload").await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("config.alloy:"), "{text}");
    assert!(has("one").await, "the old graph runs on");

    std::fs::write(&running.config, echo("two").replace("forward_to", "max_cache_size = 0\n\tforward_to")).unwrap();
    let (status, text) = running.get("/-/reload").await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("max_cache_size"), "{text}");
    assert!(has("one").await && !has("two").await, "a wrong value keeps the old graph as well");

    std::fs::write(&running.config, echo("two")).unwrap();
    assert_eq!(running.get("/-/reload").await.0, 200);
    assert!(has("two").await && !has("one").await);

    std::fs::write(&running.config, echo("three")).unwrap();
    until("the watched file is taken", Duration::from_secs(20), || has("three")).await;

    let stopped = running.process.stop(Duration::from_secs(25)).await.unwrap();
    assert!(stopped.status.success(), "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_shows_in_health_and_metrics_while_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = "prometheus.scrape \"dead\" {\n\ttargets = [{\"__address__\" = \"127.0.0.1:1\"}]\n\tforward_to = [prometheus.remote_write.dead.receiver]\n\t\
                  scrape_interval = \"200ms\"\n\tscrape_timeout = \"200ms\"\n}\n\
                  prometheus.remote_write \"dead\" {\n\tendpoint {\n\t\turl = \"http://127.0.0.1:1/write\"\n\t\tqueue_config {\n\t\t\tbatch_send_deadline = \"100ms\"\n\t\t}\n\t}\n}\n\
                  prometheus.exporter.self \"alive\" { }\n";
    let running = Running::start(folder.path(), config).await;
    until("both show", Duration::from_secs(20), || async {
        let (status, text) = running.get("/-/healthy").await;
        status == 500 && text.contains("prometheus.scrape.dead") && text.contains("prometheus.remote_write.dead")
    })
    .await;
    let (_, scrape) = running.get("/api/v0/web/components/prometheus.scrape.dead").await;
    assert!(scrape.contains("none of 1 targets can be scraped"), "{scrape}");
    let (_, targets) = running.get("/api/v1/targets").await;
    assert!(targets.contains("\"health\":\"down\""), "{targets}");
    let (_, metrics) = running.get("/metrics").await;
    assert!(
        metrics.contains("alloy_component_controller_running_components{") && metrics.contains("health_type=\"unhealthy\""),
        "{metrics}"
    );
    assert_eq!(running.get("/-/ready").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_appear_nowhere() {
    const CANARIES: [&str; 5] = ["canary-password", "canary-token", "canary-userinfo", "canary-header", "canary-key"];
    let folder = tempfile::tempdir().unwrap();
    let config = "prometheus.scrape \"s\" {\n\ttargets = [{\"__address__\" = \"127.0.0.1:1\"}]\n\tforward_to = [prometheus.remote_write.w.receiver]\n\t\
                  scrape_interval = \"200ms\"\n\tscrape_timeout = \"200ms\"\n\tbasic_auth {\n\t\tusername = \"u\"\n\t\tpassword = \"canary-password\"\n\t}\n}\n\
                  prometheus.remote_write \"w\" {\n\tendpoint {\n\t\turl = \"http://u:canary-userinfo@127.0.0.1:1/write\"\n\t\tbearer_token = \"canary-token\"\n\t\t\
                  http_headers = { \"X-Key\" = [\"canary-header\"] }\n\t\theaders = { \"X-Api-Key\" = \"canary-key\" }\n\t\tqueue_config {\n\t\t\tbatch_send_deadline = \"100ms\"\n\t\t}\n\t}\n}\n";
    let running = Running::start(folder.path(), config).await;
    until("both fail", Duration::from_secs(20), || async { running.get("/-/healthy").await.1.contains("prometheus.remote_write.w") }).await;
    let mut seen = running.log();
    for path in [
        "/metrics",
        "/-/healthy",
        "/api/v0/web/components",
        "/api/v0/web/components/prometheus.scrape.s",
        "/api/v0/web/components/prometheus.remote_write.w",
        "/api/v1/targets?scope=cluster",
    ] {
        seen.push_str(&running.get(path).await.1);
    }
    std::fs::write(&running.config, config.replace("scrape_timeout", "scrape_timeoutt")).unwrap();
    seen.push_str(&running.get("/-/reload").await.1);
    // The receiver is dead, so a polite end would wait for it; told a second time, the process ends at once.
    running.process.signal(Signal::Terminate);
    until("it says what it waits for", PATIENCE, || async {
        running.log().contains("leaving") || running.log().contains("before stopping")
    })
    .await;
    running.process.signal(Signal::Terminate);
    let ended = tokio::time::timeout(PATIENCE, running.process.ended()).await;
    assert!(ended.is_ok() && running.log().contains("a second time"), "a second signal ends it at once");
    seen.push_str(&running.log());
    for canary in CANARIES {
        assert!(!seen.contains(canary), "{canary} in {}", seen.lines().find(|line| line.contains(canary)).unwrap_or_default());
    }
}
