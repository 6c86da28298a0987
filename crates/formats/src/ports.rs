//! Ports that something declares: an image's `ExposedPorts`, a container's port mappings, the configuration's
//! list.

use serde::Deserialize;

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its name, in any case; `None` for another one.
    pub fn parse(name: &str) -> Option<Self> {
        [(Self::Tcp, "tcp"), (Self::Udp, "udp"), (Self::Sctp, "sctp")]
            .into_iter()
            .find_map(|(protocol, known)| name.eq_ignore_ascii_case(known).then_some(protocol))
    }

    /// Its name, as declarations write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Ports from the first to the last of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ports {
    /// Protocol.
    pub protocol: Protocol,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl Ports {
    /// Parses `8080/tcp`, `8000-8010/udp` or `80`, which is TCP (image-spec `config.md`; Docker also writes
    /// ranges).
    pub fn parse(text: &str) -> Option<Self> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let ports = Self {
            protocol: Protocol::parse(protocol)?,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        };
        (ports.first <= ports.last).then_some(ports)
    }

    /// One port.
    pub fn one(protocol: Protocol, port: u16) -> Self {
        Self { protocol, first: port, last: port }
    }

    /// Whether the port is one of these.
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol && (self.first..=self.last).contains(&port)
    }
}

impl std::fmt::Display for Ports {
    /// As [`Ports::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { protocol, first, last } = self;
        match first == last {
            true => write!(f, "{first}/{}", protocol.as_str()),
            false => write!(f, "{first}-{last}/{}", protocol.as_str()),
        }
    }
}

/// kubelet's annotation `io.kubernetes.container.ports`: the pod's `ports` of this container as JSON
/// (`pkg/kubelet/kuberuntime/labels.go`). Damaged ones are none.
pub fn of_annotation(json: &str) -> Vec<Ports> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        container_port: u16,
        #[serde(default)]
        protocol: Option<String>,
    }
    let raw: Vec<Raw> = serde_json::from_str(json).unwrap_or_default();
    let ports = raw.iter().filter_map(|r| {
        let protocol = Protocol::parse(r.protocol.as_deref().unwrap_or("tcp"))?;
        Some(Ports::one(protocol, r.container_port))
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_engines_write_them() {
        let range = |protocol, first, last| Some(Ports { protocol, first, last });
        for (text, want) in [
            ("8080/tcp", range(Protocol::Tcp, 8080, 8080)),
            ("53/UDP", range(Protocol::Udp, 53, 53)),
            ("80", range(Protocol::Tcp, 80, 80)),
            ("8000-8010/tcp", range(Protocol::Tcp, 8000, 8010)),
            ("5060/sctp", range(Protocol::Sctp, 5060, 5060)),
            ("8010-8000/tcp", None),
            ("70000/tcp", None),
            ("x/tcp", None),
            ("80/icmp", None),
            ("", None),
            ("-/", None),
        ] {
            assert_eq!(Ports::parse(text), want, "{text}");
        }
        let ports = range(Protocol::Tcp, 8000, 8010).unwrap();
        assert!(ports.contains(Protocol::Tcp, 8010) && !ports.contains(Protocol::Tcp, 8011));
        assert!(!ports.contains(Protocol::Udp, 8000));
    }

    #[test]
    fn kubelets_annotation_is_read() {
        let json = r#"[{"name":"http","containerPort":8080,"protocol":"TCP"},{"hostPort":5,"containerPort":53,"protocol":"UDP"}]"#;
        let want = vec![Ports::one(Protocol::Tcp, 8080), Ports::one(Protocol::Udp, 53)];
        assert_eq!(of_annotation(json), want);
        assert_eq!(of_annotation("[{"), vec![]);
        assert_eq!(of_annotation(r#"[{"containerPort":99999}]"#), vec![]);
    }
}
