//! Databases that something else than a package manager changes, and package managers that change nothing.

use super::{list, start, watch};
use testkit::live::{fixtures, Runtime};

#[test]
fn an_unpacked_archive_of_packages_is_told_once() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live packages: unpacked", Runtime::Podman) else { return };
    let site = container.vol().join("usr/local/lib/python3/dist-packages");
    for name in ["evil_a", "evil_b"] {
        let info = site.join(format!("{name}-6.6.dist-info"));
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(info.join("METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: 6.6\n"))
            .unwrap();
    }
    let script = "tar -C /vol -cf /vol/x.tar usr\ntar -C / -xf /vol/x.tar\n";
    let outcome = watch(&container, script);
    let [told] = outcome.told.as_slice() else { panic!("not one event: {:#?}", outcome.told) };
    assert_eq!(told.text("drift.pkg_manager"), Some("unknown"));
    assert_eq!(told.text("drift.pkg_command"), Some("tar -C / -xf /vol/x.tar"));
    assert_eq!(told.text("drift.binary_provenance"), Some("image"));
    assert_eq!(list(&told.fields["drift.pkg_added"]), ["evil_a=6.6", "evil_b=6.6"]);
    let critical: Vec<_> = outcome.alerts.iter().filter(|alert| alert.priority == "Critical").collect();
    let [alert] = critical.as_slice() else { panic!("{critical:#?}") };
    assert_eq!(alert.rule, "Drift package database changed by other program");
}

#[test]
fn an_installation_that_fails_is_an_attempt() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live packages: attempts", Runtime::Containerd) else { return };
    let script = "apt-get install -y no-such-package\npip install --no-index no-such-package\n\
        dpkg -l > /dev/null\npip list > /dev/null\n";
    let outcome = watch(&container, script);
    assert_eq!(outcome.serious(), [""; 0]);
    let attempts: Vec<_> =
        outcome.alerts.iter().filter(|alert| alert.rule == "Drift package change attempted").collect();
    let managers: Vec<_> =
        attempts.iter().map(|alert| list(&alert.output_fields["drift.pkg_manager"]).concat()).collect();
    assert_eq!(managers, ["apt", "pip"], "{attempts:#?}");
    for attempt in attempts {
        assert_eq!(list(&attempt.output_fields["drift.pkg_names"]), ["no-such-package"]);
    }
}

#[test]
fn a_script_that_only_has_the_name_of_a_package_manager_is_none() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live packages: another's name", Runtime::Podman) else { return };
    fixtures::wheel(&container.vol().join("drift_x-1.0-py3-none-any.whl"), &[]).unwrap();
    let script = "cp /usr/bin/pip /tmp/pip\n\
        python3 /tmp/pip install --no-index --break-system-packages /vol/drift_x-1.0-py3-none-any.whl\n";
    let outcome = watch(&container, script);
    let [told] = outcome.told.as_slice() else { panic!("not one event: {:#?}", outcome.told) };
    assert_eq!(told.text("drift.pkg_manager"), Some("unknown"), "{told:?}");
    assert_eq!(told.text("drift.pkg_action"), Some("install"), "{told:?}");
    assert_eq!(list(&told.fields["drift.pkg_added"]), ["drift_x=1.0"]);
    let rules: Vec<_> =
        outcome.alerts.iter().filter(|alert| alert.priority == "Critical").map(|alert| &alert.rule).collect();
    assert_eq!(rules, ["Drift package database changed by other program"]);
}
