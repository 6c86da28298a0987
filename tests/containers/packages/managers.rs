//! Installations with dependencies: each is one alert with the exact list, and no other alert above INFO.

use super::{list, watch, Outcome};
use std::collections::BTreeSet;
use testkit::live::fixtures::{self, Deb};
use testkit::live::{Container, Runtime};

fn start(test: &str) -> Option<Container> {
    super::start(test, Runtime::Podman)
}

/// The one event of an installation, with what it added.
/// `beside`: parts of the paths that its scripts wrote, and that no package accounts for.
fn added(outcome: &Outcome, manager: &str, beside: &[&str]) -> BTreeSet<String> {
    let [told] = outcome.told.as_slice() else { panic!("not one event: {:#?}", outcome.told) };
    assert_eq!(told.text("drift.pkg_manager"), Some(manager), "{told:?}");
    assert_eq!(told.text("drift.pkg_action"), Some("install"), "{told:?}");
    assert_eq!(told.text("drift.pkg_effect"), Some("changed"), "{told:?}");
    for other in ["removed", "upgraded", "reinstalled"] {
        assert!(told.fields[format!("drift.pkg_{other}").as_str()].is_null(), "{told:?}");
    }
    let mut serious = outcome.serious();
    let during = format!("during={manager}");
    for part in beside {
        let is_it = |alert: &String| alert.contains(part) && alert.contains(&during);
        assert!(serious.iter().any(is_it), "{part}: {serious:#?}");
        serious.retain(|alert| !is_it(alert));
    }
    // What the transaction ran and left that no package of it owns: maintainer scripts, caches.
    serious.retain(|alert| !alert.contains(&during));
    let ours = |alert: &String| {
        alert.starts_with(&format!("Drift package manager changed container: {manager} install"))
    };
    assert!(serious.len() == 1 && serious.iter().all(ours), "{serious:#?}");
    list(&told.fields["drift.pkg_added"]).into_iter().collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

const DEPENDENCIES: usize = 30;
const APT: &str =
    "apt-get -q -y -o Dir::Etc::SourceList=/vol/repo/sources.list -o Dir::Etc::SourceParts=/none";

#[test]
fn apt_installs_a_package_with_thirty_dependencies() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live packages: apt") else { return };
    let repo = container.vol().join("repo");
    std::fs::create_dir(&repo).unwrap();
    std::fs::write(repo.join("sources.list"), "deb [trusted=yes] file:/vol/repo ./\n").unwrap();
    let names: Vec<String> = (1..=DEPENDENCIES).map(|i| format!("drift-dep{i:02}")).collect();
    let mut expected = set(["drift-top=2.0-1"]);
    for name in &names {
        let file = format!("usr/share/{name}/data");
        let deb = Deb { name, version: "1.0", files: &[(&file, 0o644, "data\n")], ..Deb::default() };
        fixtures::deb(&repo.join(format!("{name}.deb")), &deb).unwrap();
        expected.insert(format!("{name}=1.0"));
    }
    // A maintainer script that does what they do: configuration, an alternative, the loader's cache,
    // set-user-id.
    let postinst = "#!/bin/sh\nset -e\necho x > /etc/drift-top.generated\n\
        update-alternatives --install /usr/bin/drift-alternative drift-alternative /usr/bin/drift-top 10\n\
        chmod 4755 /usr/lib/drift-top/suid\nldconfig\nadduser --version > /dev/null 2>&1 || true\n";
    let files = [
        ("usr/bin/drift-top", 0o755, "#!/bin/sh\nexit 0\n"),
        ("etc/drift-top.conf", 0o644, "x\n"),
        ("usr/lib/drift-top/suid", 0o4755, "x\n"),
    ];
    let depends = names.join(", ");
    let deb = Deb { name: "drift-top", version: "2.0-1", depends: &depends, files: &files, postinst };
    fixtures::deb(&repo.join("drift-top.deb"), &deb).unwrap();
    fixtures::apt_index(&repo).unwrap();
    let script = format!(
        "{APT} update\nsudo=; env DEBIAN_FRONTEND=noninteractive {APT} install drift-top\n\
        sleep 4\n/usr/bin/drift-top\n"
    );
    let outcome = watch(&container, &script);
    assert_eq!(added(&outcome, "apt", &["/etc/drift-top.generated", "/usr/lib/drift-top/suid"]), expected);
    // What was installed belongs to its package, and runs at INFO.
    let run =
        outcome.executed.iter().find(|line| line.text("drift.script_path") == Some("/usr/bin/drift-top"));
    let run = run.unwrap_or_else(|| panic!("{:#?}", outcome.executed));
    assert_eq!(run.text("drift.script_provenance"), Some("package:apt"), "{run:?}");
    assert_eq!(run.text("drift.script_package"), Some("dpkg:drift-top"), "{run:?}");
}

#[test]
fn pip_installs_a_wheel_with_dependencies() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live packages: pip") else { return };
    let wheels = [
        ("drift_top-1.2-py3-none-any.whl", &["drift-a", "drift-b"][..]),
        ("drift_a-0.1-py3-none-any.whl", &["drift-c"]),
        ("drift_b-0.2-py3-none-any.whl", &[]),
        ("drift_c-0.3-py3-none-any.whl", &[]),
    ];
    for (wheel, requires) in wheels {
        fixtures::wheel(&container.vol().join(wheel), requires).unwrap();
    }
    let script = "pip install --no-index --find-links /vol --break-system-packages drift-top\n";
    let outcome = watch(&container, script);
    assert_eq!(
        added(&outcome, "pip", &[]),
        set(["drift_top=1.2", "drift_a=0.1", "drift_b=0.2", "drift_c=0.3"])
    );
}

#[test]
fn npm_installs_a_tarball() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live packages: npm") else { return };
    let tarball = container.vol().join("left-thing-1.0.2.tgz");
    fixtures::npm_tarball(&tarball, "left-thing", "1.0.2", "node -e 1").unwrap();
    let script =
        "mkdir /opt/app\ncd /opt/app\nnpm install --offline --no-audit --no-fund /vol/left-thing-1.0.2.tgz\n";
    let outcome = watch(&container, script);
    assert_eq!(added(&outcome, "npm", &["/opt/app/package"]), set(["left-thing=1.0.2"]));
}

#[test]
fn gem_installs_a_local_gem() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live packages: gem") else { return };
    fixtures::gem(&container.vol().join("drift-gem-0.9.gem"), "drift-gem", "0.9").unwrap();
    let outcome = watch(&container, "gem install --local --no-document /vol/drift-gem-0.9.gem\n");
    assert_eq!(added(&outcome, "gem", &["/cache/drift-gem"]), set(["drift-gem=0.9"]));
}
