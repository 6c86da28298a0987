//! The source's open parameters: a JSON object as text, `open_params` in falco.yaml.

use serde::Deserialize;
use std::time::Duration;

/// What a user writes. Empty text means all defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawParams {
    interval_seconds: Option<u64>,
    checks: Option<Vec<String>>,
    cpu_percent: Option<u64>,
    max_findings: Option<u64>,
    once: bool,
}

/// Something that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// Files of the root file system.
    Files,
    /// Programs that run.
    Processes,
    /// Packages. After files, which tell what databases to look at.
    Packages,
    /// Ports that are listened on.
    Ports,
    /// Environments of running programs.
    Environment,
    /// The image against the approved ones.
    Image,
    /// Whether the root file system can be written to.
    Rootfs,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Files,
        Self::Processes,
        Self::Packages,
        Self::Ports,
        Self::Environment,
        Self::Image,
        Self::Rootfs,
    ];

    /// The name in parameters and in `drift.event.check`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Processes => "processes",
            Self::Packages => "packages",
            Self::Ports => "ports",
            Self::Environment => "environment",
            Self::Image => "image",
            Self::Rootfs => "rootfs",
        }
    }
}

/// What the source does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Time between two comparisons of a container.
    pub interval: Duration,
    /// What is compared.
    pub checks: Vec<Check>,
    /// Share of one CPU, percent.
    pub cpu_percent: u8,
    /// Most findings of one container.
    pub max_findings: u64,
    /// Each running container is compared once, and the source ends.
    pub once: bool,
    /// Nobody said anything: nothing is compared until somebody reads the source's events, as a rule does.
    pub when_read: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            checks: Check::ALL.to_vec(),
            cpu_percent: 10,
            max_findings: 10_000,
            once: false,
            when_read: true,
        }
    }
}

impl Params {
    /// Reads open parameters.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let defaults = Self::default();
        if text.trim().is_empty() {
            return Ok(defaults);
        }
        let raw: RawParams = serde_json::from_str(text)
            .map_err(|e| format!("open_params: {e} (a JSON object with interval_seconds, checks, cpu_percent, max_findings, once)"))?;
        let number = |key: &str, value: Option<u64>, default: u64, min: u64, max: u64| match value
            .unwrap_or(default)
        {
            n if (min..=max).contains(&n) => Ok(n),
            n => Err(format!("open_params: {key} is {n}; expected a number from {min} to {max}")),
        };
        let checks = match raw.checks {
            None => defaults.checks,
            Some(names) => {
                let mut checks = names.iter().map(|n| check(n)).collect::<Result<Vec<_>, _>>()?;
                checks.sort_unstable();
                checks.dedup();
                checks
            }
        };
        if checks.is_empty() {
            return Err("open_params: checks is empty; without any the source has nothing to do".to_owned());
        }
        let cpu_percent = number("cpu_percent", raw.cpu_percent, u64::from(defaults.cpu_percent), 1, 100)?;
        let interval =
            number("interval_seconds", raw.interval_seconds, defaults.interval.as_secs(), 1, 604_800)?;
        Ok(Self {
            interval: Duration::from_secs(interval),
            checks,
            cpu_percent: u8::try_from(cpu_percent).unwrap_or(100),
            max_findings: number("max_findings", raw.max_findings, defaults.max_findings, 1, 1_000_000)?,
            once: raw.once,
            when_read: false,
        })
    }
}

fn check(name: &str) -> Result<Check, String> {
    Check::ALL.into_iter().find(|c| c.as_str() == name).ok_or_else(|| {
        let allowed: Vec<_> = Check::ALL.iter().map(|c| c.as_str()).collect();
        format!("open_params: no check {name:?}; there are {}", allowed.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_checked() {
        for nothing in ["", " "] {
            assert_eq!(Params::parse(nothing).unwrap(), Params::default());
        }
        assert_eq!(Params::parse("{}").unwrap(), Params { when_read: false, ..Params::default() });
        let all = r#"{"interval_seconds":60,"checks":["processes","files","files"],"cpu_percent":5,"max_findings":7,"once":true}"#;
        let want = Params {
            interval: Duration::from_secs(60),
            checks: vec![Check::Files, Check::Processes],
            cpu_percent: 5,
            max_findings: 7,
            once: true,
            when_read: false,
        };
        assert_eq!(Params::parse(all).unwrap(), want);
        for (text, why) in [
            ("5m", "JSON object"),
            (r#"{"intervall":1}"#, "intervall"),
            (r#"{"interval_seconds":0}"#, "from 1"),
            (r#"{"cpu_percent":101}"#, "1 to 100"),
            (r#"{"checks":["disk"]}"#, "files, processes, packages"),
            (r#"{"checks":[]}"#, "nothing to do"),
        ] {
            let said = Params::parse(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
