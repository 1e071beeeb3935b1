//! What the environment says, read once at the start.
//!
//! A variable that is not set has a default; one that is set and makes no sense ends the shop with its name.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything the environment can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `POD_IP` and `PORT`: an address of its own lets many shops share one machine.
    pub address: SocketAddr,
    /// `VERSION`
    pub version: String,
    /// `LATENCY_MS`: how long it takes to buy something, give or take a fifth.
    pub latency: Duration,
    /// `ERROR_RATE`: the share of purchases that fail, 0 to 1.
    pub error_rate: f64,
    /// `ERRORS_AFTER`: all is well for so long after the start.
    pub errors_after: Duration,
    /// `READY_AFTER` and `NEVER_READY`: None is never.
    pub ready_after: Option<Duration>,
    /// `CRASH_AFTER_MS`: None is not at all.
    pub crash_after: Option<Duration>,
    /// `DRAIN_MS`: how long it goes on serving after SIGTERM.
    pub drain: Duration,
    /// `ALLOW_FAULTS`: whether `/fault` may change latency and error rate while it runs.
    pub allow_faults: bool,
}

/// A value that makes no sense, and what would.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    pub name: String,
    pub value: String,
    pub write: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}: write {}", self.name, self.value, self.write)
    }
}

impl Settings {
    pub fn from_environment() -> Result<Self, Invalid> {
        Self::from_lookup(|name| env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Invalid> {
        let read = |name: &str| -> Result<Option<String>, Invalid> {
            lookup(name)
                .map(|value| {
                    value.into_string().map_err(|value| Invalid {
                        name: name.to_owned(),
                        value: value.to_string_lossy().into_owned(),
                        write: "it in UTF-8",
                    })
                })
                .transpose()
        };
        let milliseconds = |name: &str| read(name)?.map(|value| parse_milliseconds(name, &value)).transpose();
        let switch = |name: &str| read(name)?.map_or(Ok(false), |value| parse_switch(name, &value));

        let ip = read("POD_IP")?.map(|value| parse_ip("POD_IP", &value)).transpose()?;
        let port = read("PORT")?.map(|value| parse_port("PORT", &value)).transpose()?;
        let error_rate = read("ERROR_RATE")?.map(|value| parse_share("ERROR_RATE", &value)).transpose()?;
        let errors_after =
            read("ERRORS_AFTER")?.map(|value| parse_seconds("ERRORS_AFTER", &value)).transpose()?;
        let ready_after = milliseconds("READY_AFTER")?.unwrap_or(Duration::ZERO);
        Ok(Self {
            address: SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port.unwrap_or(8080)),
            version: read("VERSION")?.unwrap_or_else(|| "dev".to_owned()),
            latency: milliseconds("LATENCY_MS")?.unwrap_or(Duration::from_millis(10)),
            error_rate: error_rate.unwrap_or(0.0),
            errors_after: errors_after.unwrap_or(Duration::ZERO),
            ready_after: if switch("NEVER_READY")? { None } else { Some(ready_after) },
            crash_after: milliseconds("CRASH_AFTER_MS")?,
            drain: milliseconds("DRAIN_MS")?.unwrap_or(Duration::from_millis(200)),
            allow_faults: switch("ALLOW_FAULTS")?,
        })
    }
}

/// A share from 0 to 1. Also reads `error_rate` of `/fault`.
pub fn parse_share(name: &str, value: &str) -> Result<f64, Invalid> {
    value
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| invalid(name, value, "a share from 0 to 1, like 0.05"))
}

/// Whole milliseconds, up to 49 days. Also reads `latency_ms` of `/fault`.
pub fn parse_milliseconds(name: &str, value: &str) -> Result<Duration, Invalid> {
    parse_whole(value)
        .map(|whole| Duration::from_millis(whole.into()))
        .ok_or_else(|| invalid(name, value, "a whole number of milliseconds, like 250"))
}

fn parse_seconds(name: &str, value: &str) -> Result<Duration, Invalid> {
    parse_whole(value)
        .map(|whole| Duration::from_secs(whole.into()))
        .ok_or_else(|| invalid(name, value, "a whole number of seconds, like 30"))
}

/// 32 bits, so that no sum or product of durations can overflow.
fn parse_whole(value: &str) -> Option<u32> {
    value.parse().ok()
}

fn parse_ip(name: &str, value: &str) -> Result<IpAddr, Invalid> {
    value.parse().map_err(|_| invalid(name, value, "an IP address, like 127.0.0.2"))
}

fn parse_port(name: &str, value: &str) -> Result<u16, Invalid> {
    value.parse().map_err(|_| invalid(name, value, "a port from 0 (any that is free) to 65535, like 8080"))
}

fn parse_switch(name: &str, value: &str) -> Result<bool, Invalid> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(invalid(name, value, "1 or 0")),
    }
}

fn invalid(name: &str, value: &str, write: &'static str) -> Invalid {
    Invalid { name: name.to_owned(), value: value.to_owned(), write }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from_lookup(|name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
        .map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn an_empty_environment_is_a_healthy_shop() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.address, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(settings.error_rate, 0.0);
        assert_eq!(settings.ready_after, Some(Duration::ZERO));
        assert_eq!(settings.crash_after, None);
        assert!(!settings.allow_faults);
    }

    #[test]
    fn every_variable_is_heard() {
        let settings = read(&[
            ("POD_IP", "127.0.0.7"),
            ("PORT", "9000"),
            ("VERSION", "v2"),
            ("LATENCY_MS", "120"),
            ("ERROR_RATE", "0.25"),
            ("ERRORS_AFTER", "30"),
            ("READY_AFTER", "1500"),
            ("CRASH_AFTER_MS", "4000"),
            ("DRAIN_MS", "0"),
            ("ALLOW_FAULTS", "1"),
        ]);
        let expected = Settings {
            address: "127.0.0.7:9000".parse().unwrap(),
            version: "v2".to_owned(),
            latency: Duration::from_millis(120),
            error_rate: 0.25,
            errors_after: Duration::from_secs(30),
            ready_after: Some(Duration::from_millis(1500)),
            crash_after: Some(Duration::from_secs(4)),
            drain: Duration::ZERO,
            allow_faults: true,
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn never_ready_wins_over_ready_after() {
        assert_eq!(read(&[("NEVER_READY", "1"), ("READY_AFTER", "5")]).unwrap().ready_after, None);
        assert!(read(&[("NEVER_READY", "0")]).unwrap().ready_after.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_named_with_what_would() {
        for (name, value, message) in [
            ("ERROR_RATE", "2", "ERROR_RATE is \"2\": write a share from 0 to 1, like 0.05"),
            ("ERROR_RATE", "NaN", "ERROR_RATE is \"NaN\": write a share from 0 to 1, like 0.05"),
            ("LATENCY_MS", "1s", "LATENCY_MS is \"1s\": write a whole number of milliseconds, like 250"),
            ("ERRORS_AFTER", "-1", "ERRORS_AFTER is \"-1\": write a whole number of seconds, like 30"),
            ("POD_IP", "here", "POD_IP is \"here\": write an IP address, like 127.0.0.2"),
            ("PORT", "", "PORT is \"\": write a port from 0 (any that is free) to 65535, like 8080"),
            ("NEVER_READY", "yes", "NEVER_READY is \"yes\": write 1 or 0"),
        ] {
            assert_eq!(read(&[(name, value)]), Err(message.to_owned()));
        }
    }
}
