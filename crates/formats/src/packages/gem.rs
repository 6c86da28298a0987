//! RubyGems' installed gems: `specifications/<name>-<version>[-<platform>].gemspec`. These are Ruby programs,
//! which are not evaluated: RubyGems itself reads the line `# stub: name version platform paths` first
//! (lib/rubygems/stub_specification.rb).

use crate::packages::word;

/// A gem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GemPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The platform that it was built for; empty for plain Ruby.
    pub platform: String,
}

/// Parses the beginning of a `.gemspec`; without a stub line, its name.
///
/// # Errors
/// Neither tells a gem.
pub fn parse_gemspec(file_name: &[u8], head: &[u8]) -> Result<GemPackage, String> {
    let stub = crate::packages::lines(head).take(10).find_map(|(_, line)| line.strip_prefix(b"# stub: "));
    let gem = stub.and_then(|stub| {
        let mut words = stub.split(|b| *b == b' ').map(word);
        let (name, version, platform) = (words.next()??, words.next()??, words.next()??);
        Some(GemPackage {
            name,
            version,
            platform: if platform == "ruby" { String::new() } else { platform },
        })
    });
    gem.or_else(|| by_file_name(file_name))
        .ok_or_else(|| format!("{} has no stub line, and is no gem's name", crate::packages::show(file_name)))
}

/// `native-2.0-x86_64-linux.gemspec`: the version is the first part that begins with a digit.
fn by_file_name(file_name: &[u8]) -> Option<GemPackage> {
    let stem = word(file_name.strip_suffix(b".gemspec")?)?;
    let digit = |(at, _): &(usize, &str)| {
        stem.get(at + 1..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let (at, _) = stem.match_indices('-').filter(|(at, _)| *at > 0).find(digit)?;
    let (name, rest) = (stem.get(..at)?, stem.get(at + 1..)?);
    let (version, platform) = rest.split_once('-').unwrap_or((rest, ""));
    Some(GemPackage { name: name.into(), version: version.into(), platform: platform.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(gem: &GemPackage) -> (&str, &str, &str) {
        (&gem.name, &gem.version, &gem.platform)
    }

    #[test]
    fn gemspecs_of_rubygems() {
        let pre = include_bytes!("../../../../tests/fixtures/packages/gem/drift-fixture-1.2.0.pre.gemspec");
        let native =
            include_bytes!("../../../../tests/fixtures/packages/gem/drift-native-2.0-x86_64-linux.gemspec");
        for (name, bytes, want) in [
            ("drift-fixture-1.2.0.pre.gemspec", &pre[..], ("drift-fixture", "1.2.0.pre", "")),
            ("drift-native-2.0-x86_64-linux.gemspec", native, ("drift-native", "2.0", "x86_64-linux")),
        ] {
            assert_eq!(shown(&parse_gemspec(name.as_bytes(), bytes).unwrap()), want);
            assert_eq!(shown(&parse_gemspec(name.as_bytes(), b"").unwrap()), want, "by the name alone");
        }
    }

    #[test]
    fn what_tells_no_gem_says_so() {
        assert_eq!(shown(&parse_gemspec(b"a-1.gemspec", b"# stub: b\n").unwrap()), ("a", "1", ""));
        assert_eq!(shown(&parse_gemspec(b"a-1.gemspec", b"x\n# stub: b/ 1 ruby lib\n").unwrap()).0, "a");
        for name in [&b"a.gemspec"[..], b"-1.gemspec", b"../a-1.gemspec", b"x"] {
            assert!(parse_gemspec(name, b"").is_err());
        }
    }

    proptest! {
        #[test]
        fn never_panics(name in prop::collection::vec(any::<u8>(), 0..30), text in "(# stub: |[a-z0-9.-]{1,4}| |\n|/|-){0,20}") {
            let _ = parse_gemspec(&name, text.as_bytes());
            if let Ok(gem) = parse_gemspec(format!("{}.gemspec", text.replace('\n', "")).as_bytes(), text.as_bytes()) {
                prop_assert!(!gem.name.contains('/'));
            }
        }
    }
}
