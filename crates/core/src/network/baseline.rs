//! Whom the containers of an image talk to: baselines that somebody has reviewed.
//!
//! ```yaml
//! baselines:
//!   - images: ["registry.example/shop/*"]
//!     outbound:
//!       - to: [10.0.0.0/8, "*.example.com"]
//!         ports: [5432/tcp, 443]
//!         inbound:
//!       - from: [10.0.0.0/8]
//!         ```
//!
//! Invariant: a file is understood whole or refused; what is missing in it would count as unexpected.

use crate::container::declared::reference::Reference;
use crate::network::Direction;
use drift_formats::ports::{Ports, Protocol};
use drift_formats::yaml;
use globset::{Glob, GlobMatcher};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// Most baselines of all files: each that has a new container's image is looked for among them.
pub(crate) const MAX_BASELINES: usize = 10_000;

/// Most networks, names and ports of one baseline: a peer is looked for among them on the event thread.
const MAX_ENTRIES: usize = 20_000;

/// Who is at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer<'n> {
    /// Who began.
    pub direction: Direction,
    /// The other side's address.
    pub address: IpAddr,
    /// Its name, where a nameserver's answer told it.
    pub name: Option<&'n str>,
    /// The server's port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// A peer as the fields show it: `192.0.2.7:443/tcp`, `[2001:db8::1]:53/udp`.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Address.
    pub address: IpAddr,
    /// The server's port.
    pub port: u16,
    /// Protocol, where it is known.
    pub protocol: Option<Protocol>,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))?;
        self.protocol.map_or(Ok(()), |protocol| write!(f, "/{}", protocol.as_str()))
    }
}

/// Peers that are expected.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Networks; with no names either, any address.
    pub networks: Vec<IpNet>,
    /// Globs on names, in lower case.
    pub names: Vec<GlobMatcher>,
    /// Ports; none: any.
    pub ports: Vec<Ports>,
}

impl Rule {
    /// Whether a peer is one of these.
    pub fn has(&self, peer: &Peer<'_>) -> bool {
        let anyone = self.networks.is_empty() && self.names.is_empty();
        let is_one = anyone
            || self.networks.iter().any(|net| net.contains(&peer.address))
            || peer.name.is_some_and(|name| self.names.iter().any(|glob| glob.is_match(name)));
        is_one && (self.ports.is_empty() || self.ports.iter().any(|p| p.contains(peer.protocol, peer.port)))
    }
}

/// The baseline of some images.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// Globs on references.
    pub images: Vec<GlobMatcher>,
    /// Peers that containers begin with; `None`: nothing is said of them.
    pub outbound: Option<Vec<Rule>>,
    /// Peers that begin with containers; `None`: nothing is said of them.
    pub inbound: Option<Vec<Rule>>,
    /// Of a learned one: how long containers of the image were watched, seconds.
    pub learned_seconds: Option<u64>,
    /// Of a learned one: it met more peers than are kept.
    pub is_full: bool,
    /// The globs as written.
    pub patterns: Vec<String>,
}

/// Baselines of all files.
#[derive(Debug, Clone, Default)]
pub struct Baselines(pub Vec<Baseline>);

impl Baselines {
    /// The baselines that speak of an image, by their numbers.
    pub fn of(&self, image: &str) -> Box<[u32]> {
        let whole = Reference::parse(image).map(|r| canonical(&r));
        let speaks_of = |b: &Baseline| {
            let is_one = |name: &str| b.images.iter().any(|glob| glob.is_match(name));
            is_one(image) || whole.as_deref().is_some_and(is_one)
        };
        (0..).zip(&self.0).filter(|(_, b)| speaks_of(b)).map(|(number, _)| number).collect()
    }

    /// Whether these baselines expect a peer; `None` where none of them speaks of the direction.
    pub fn expect(&self, numbers: &[u32], peer: &Peer<'_>) -> Option<bool> {
        let mut answer = None;
        for baseline in numbers.iter().filter_map(|number| self.0.get(*number as usize)) {
            let rules = match peer.direction {
                Direction::Outbound => &baseline.outbound,
                Direction::Inbound => &baseline.inbound,
            };
            let Some(rules) = rules else { continue };
            if rules.iter().any(|rule| rule.has(peer)) {
                return Some(true);
            }
            answer = Some(false);
        }
        answer
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Where and what.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: Option<RawFile> = serde_path_to_error::deserialize(yaml::parse(text)?)
            .map_err(|e| format!("{}: {}", e.path(), e.inner()))?;
        let raw = raw.unwrap_or_default().baselines.unwrap_or_default();
        if raw.len() > MAX_BASELINES {
            return Err(format!("more than {MAX_BASELINES} baselines"));
        }
        let baselines = raw
            .into_iter()
            .enumerate()
            .map(|(i, raw)| raw.check().map_err(|why| format!("baselines[{i}]: {why}")));
        Ok(Self(baselines.collect::<Result<_, _>>()?))
    }
}

/// A reference with all that short ones leave out, its tag aside where it has none.
fn canonical(reference: &Reference) -> String {
    let mut text = reference.repository.clone();
    if let Some(tag) = &reference.tag {
        text.push(':');
        text.push_str(tag);
    }
    if let Some(digest) = &reference.digest {
        text.push('@');
        text.push_str(&digest.to_string());
    }
    text
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map with the key `baselines`")]
struct RawFile {
    baselines: Option<Vec<RawBaseline>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBaseline {
    images: Vec<String>,
    #[serde(default)]
    outbound: Option<Vec<RawTo>>,
    #[serde(default)]
    inbound: Option<Vec<RawFrom>>,
    #[serde(default)]
    learned: Option<RawLearned>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTo {
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    ports: Vec<RawPort>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFrom {
    #[serde(default)]
    from: Vec<String>,
    #[serde(default)]
    ports: Vec<RawPort>,
}

/// What the file of learned baselines says beside the peers. In a reviewed file it means nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLearned {
    seconds: u64,
    #[serde(default)]
    full: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a port such as 443, 53/udp or 8000-8010/tcp")]
enum RawPort {
    Number(u16),
    Text(String),
}

impl RawBaseline {
    fn check(self) -> Result<Baseline, String> {
        let entries = |peers: &[String], ports: &[RawPort]| peers.len() + ports.len() + 1;
        let outbound = self.outbound.iter().flatten().map(|r| entries(&r.to, &r.ports));
        let inbound = self.inbound.iter().flatten().map(|r| entries(&r.from, &r.ports));
        if outbound.chain(inbound).sum::<usize>() > MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} networks, names and ports"));
        }
        if self.images.is_empty() {
            return Err(
                "images: no image; expected globs on references, such as registry.example/shop:*".into()
            );
        }
        let rules = |key: &str, raw: Option<Vec<(Vec<String>, Vec<RawPort>)>>| -> Result<_, String> {
            let Some(raw) = raw else { return Ok(None) };
            let rules = raw
                .into_iter()
                .enumerate()
                .map(|(i, (peers, ports))| rule(&peers, ports).map_err(|why| format!("{key}[{i}].{why}")));
            rules.collect::<Result<Vec<Rule>, _>>().map(Some)
        };
        let (seconds, full) = self.learned.map_or((None, false), |l| (Some(l.seconds), l.full));
        Ok(Baseline {
            images: self.images.iter().map(|glob| image(glob)).collect::<Result<_, _>>()?,
            outbound: rules(
                "outbound",
                self.outbound.map(|all| all.into_iter().map(|r| (r.to, r.ports)).collect()),
            )?,
            inbound: rules(
                "inbound",
                self.inbound.map(|all| all.into_iter().map(|r| (r.from, r.ports)).collect()),
            )?,
            learned_seconds: seconds,
            is_full: full,
            patterns: self.images,
        })
    }
}

fn image(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = Glob::new(pattern)
        .map_err(|e| format!("images: {:?} is no glob: {}", yaml::shown(pattern), e.kind()))?;
    Ok(glob.compile_matcher())
}

fn rule(peers: &[String], ports: Vec<RawPort>) -> Result<Rule, String> {
    let mut rule = Rule::default();
    for peer in peers {
        match network(peer) {
            Some(net) => rule.networks.push(net),
            None => rule.names.push(name(peer)?),
        }
    }
    for port in ports {
        let text = match port {
            RawPort::Number(n) => n.to_string(),
            RawPort::Text(text) => text,
        };
        let expected = || {
            let shown = yaml::shown(&text);
            format!("ports: {shown:?} is no port; expected 443, 53/udp or 8000-8010/tcp")
        };
        rule.ports.push(Ports::parse(&text).ok_or_else(expected)?);
    }
    Ok(rule)
}

/// A network or an address.
fn network(text: &str) -> Option<IpNet> {
    let net = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(match net {
        // Addresses of events come in this form as well.
        IpNet::V6(six) if six.prefix_len() >= 96 => match six.addr().to_ipv4_mapped() {
            Some(four) => IpNet::new(four.into(), six.prefix_len() - 96).ok()?,
            None => net,
        },
        _ => net,
    })
}

/// A glob on domain names.
fn name(text: &str) -> Result<GlobMatcher, String> {
    let is_name = !text.is_empty()
        && text.contains(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*'));
    let shown = yaml::shown(text);
    if !is_name {
        return Err(format!("{shown:?} is no network (10.0.0.0/8), address or name (*.example.com)"));
    }
    let glob = Glob::new(&text.trim_end_matches('.').to_ascii_lowercase());
    Ok(glob.map_err(|e| format!("{shown:?} is no glob: {}", e.kind()))?.compile_matcher())
}

#[cfg(test)]
#[path = "baseline_tests.rs"]
mod tests;
