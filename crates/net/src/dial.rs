//! Opens TCP connections as Go's dialer does: the addresses of one family after the other, and a race with the other family if that takes
//! longer than 300 ms or fails ("happy eyeballs", RFC 6555).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::{Step, StepError};

/// How long the first family is alone (Go's `fallbackDelay`).
const HEAD_START: Duration = Duration::from_millis(300);
/// However many addresses there are, each gets this long if there is so much time (Go's `saneMinimum`).
const MIN_SHARE: Duration = Duration::from_secs(2);
/// How many addresses an error names.
const MAX_NAMED: usize = 3;

/// A connection to one of these addresses, of which there must be one, within the time.
///
/// # Errors
/// None of them answered; the error names them.
pub(crate) async fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, StepError> {
    let io = race(addresses, deadline, TcpStream::connect).await.map_err(|failures| StepError::new(Step::Connect, named(&failures)))?;
    // Requests are written whole: waiting for more only delays them.
    io.set_nodelay(true).map_err(|error| StepError::new(Step::Connect, error))?;
    Ok(io)
}

type Failures = Vec<(SocketAddr, String)>;

fn named(failures: &Failures) -> String {
    let mut text: Vec<String> = failures.iter().take(MAX_NAMED).map(|(address, cause)| format!("{address}: {cause}")).collect();
    if failures.len() > MAX_NAMED {
        text.push(format!("and {} other addresses", failures.len() - MAX_NAMED));
    }
    text.join("; ")
}

/// The first family is that of the first address, as the resolver has put them in order.
async fn race<T, F>(addresses: &[SocketAddr], deadline: Instant, connect: impl Fn(SocketAddr) -> F) -> Result<T, Failures>
where
    F: Future<Output = io::Result<T>>,
{
    let is_first_family = |address: &SocketAddr| addresses.first().is_some_and(|first| first.is_ipv4() == address.is_ipv4());
    let (first, others): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_first_family);
    if others.is_empty() {
        return one_by_one(&first, deadline, &connect).await;
    }
    let first = pin!(one_by_one(&first, deadline, &connect));
    let first = match select(first, pin!(sleep(HEAD_START))).await {
        Either::Left((Ok(io), _)) => return Ok(io),
        Either::Left((Err(failures), _)) => {
            return one_by_one(&others, deadline, &connect).await.map_err(|more| [failures, more].concat());
        }
        Either::Right(((), first)) => first,
    };
    match select(first, pin!(one_by_one(&others, deadline, &connect))).await {
        Either::Left((Ok(io), _)) | Either::Right((Ok(io), _)) => Ok(io),
        Either::Left((Err(failures), rest)) => rest.await.map_err(|more| [failures, more].concat()),
        Either::Right((Err(more), rest)) => rest.await.map_err(|failures| [failures, more].concat()),
    }
}

/// Each address gets its share of the time that is left.
async fn one_by_one<T, F>(addresses: &[SocketAddr], deadline: Instant, connect: &impl Fn(SocketAddr) -> F) -> Result<T, Failures>
where
    F: Future<Output = io::Result<T>>,
{
    let mut failures = Failures::new();
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() && at > 0 {
            break;
        }
        let share = (left / (addresses.len() - at) as u32).max(MIN_SHARE.min(left));
        let cause = match timeout_at(Instant::now() + share, connect(*address)).await {
            Ok(Ok(io)) => return Ok(io),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {share:?}"),
        };
        failures.push((*address, cause));
    }
    Err(failures)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LAN4: &str = "10.0.0.1:80";
    const LAN6: &str = "[fd00::1]:80";

    /// What a modelled address does: answers after so many milliseconds, well or badly.
    type Model = &'static [(&'static str, u64, bool)];

    /// Races modelled addresses on a stopped clock. Gives the winner, the time it took, and who was asked when, in milliseconds.
    async fn raced(model: Model) -> (Result<SocketAddr, Failures>, u64, Vec<(u64, String)>) {
        raced_within(Duration::from_secs(30), model).await
    }

    async fn raced_within(all: Duration, model: Model) -> (Result<SocketAddr, Failures>, u64, Vec<(u64, String)>) {
        let began = Instant::now();
        let asked = Mutex::new(Vec::new());
        let addresses: Vec<SocketAddr> = model.iter().map(|(address, ..)| address.parse().unwrap()).collect();
        let now = || began.elapsed().as_millis() as u64;
        let result = race(&addresses, began + all, |address| {
            asked.lock().unwrap().push((now(), address.to_string()));
            let (_, after, is_good) = *model.iter().find(|(name, ..)| name.parse() == Ok(address)).unwrap();
            async move {
                sleep(Duration::from_millis(after)).await;
                if is_good { Ok(address) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
            }
        })
        .await;
        (result, now(), asked.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_other_family_is_left_alone_while_the_first_is_quick() {
        let (winner, took, asked) = raced(&[(LAN6, 299, true), (LAN4, 0, true)]).await;
        assert_eq!((winner.unwrap(), took, asked.len()), (LAN6.parse().unwrap(), 299, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn after_300_ms_both_race_and_either_may_win() {
        let (winner, took, asked) = raced(&[(LAN6, 10_000, true), (LAN4, 50, true)]).await;
        assert_eq!((winner.unwrap(), took), (LAN4.parse().unwrap(), 350));
        assert_eq!(asked, [(0, LAN6.to_owned()), (300, LAN4.to_owned())]);
        let (winner, took, _) = raced(&[(LAN6, 400, true), (LAN4, 200, true)]).await;
        assert_eq!((winner.unwrap(), took), (LAN6.parse().unwrap(), 400));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_starts_the_other_family_at_once_and_a_later_one_waits_for_it() {
        let (winner, took, _) = raced(&[(LAN4, 5, false), (LAN6, 7, true)]).await;
        assert_eq!((winner.unwrap(), took), (LAN6.parse().unwrap(), 12));
        let (winner, took, _) = raced(&[(LAN4, 310, false), (LAN6, 100, true)]).await;
        assert_eq!((winner.unwrap(), took), (LAN6.parse().unwrap(), 400));
        let (winner, took, _) = raced(&[(LAN4, 500, true), (LAN6, 100, false)]).await;
        assert_eq!((winner.unwrap(), took), (LAN4.parse().unwrap(), 500));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_a_family_take_turns_with_a_share_of_the_time_each() {
        let (winner, took, _) = raced(&[(LAN4, 60_000, true), ("10.0.0.2:80", 60_000, true), ("10.0.0.3:80", 1, true)]).await;
        assert_eq!((winner.unwrap(), took), ("10.0.0.3:80".parse().unwrap(), 20_001));
        let slow: Model = &[(LAN4, 1900, true), ("10.0.0.2:80", 0, true), ("10.0.0.3:80", 0, true)];
        let (winner, took, _) = raced_within(Duration::from_secs(3), slow).await;
        assert_eq!((winner.unwrap(), took), (LAN4.parse().unwrap(), 1900), "a share is no less than two seconds");
        let (result, took, asked) = raced_within(Duration::from_secs(1), &[(LAN4, 9000, true), ("10.0.0.2:80", 0, true)]).await;
        assert_eq!((result.is_err(), took, asked.len()), (true, 1000, 1), "and never more than there is");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_error_names_them() {
        let (result, ..) = raced(&[(LAN6, 60_000, true), (LAN4, 0, false)]).await;
        let text = named(&result.unwrap_err());
        assert_eq!(text, "[fd00::1]:80: no answer within 30s; 10.0.0.1:80: connection refused");
        let many: Failures = (1..=5_u16).map(|port| (SocketAddr::from(([1, 1, 1, 1], port)), "x".to_owned())).collect();
        assert_eq!(named(&many), "1.1.1.1:1: x; 1.1.1.1:2: x; 1.1.1.1:3: x; and 2 other addresses");
    }

    #[tokio::test]
    async fn a_real_connection_is_opened() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(dial(&[gone, listener.local_addr().unwrap()], deadline).await.is_ok());
        let error = dial(&[gone], deadline).await.unwrap_err();
        assert!(error.cause.contains(&gone.to_string()) && error.cause.contains("refused"), "{error}");
    }
}
