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
    assert_eq!(alert.rule, "Drift package database changed by another program");
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
    assert_eq!(rules, ["Drift package database changed by another program"]);
}

/// `dpkg --pre-invoke` with nothing to install, and the attacker's pip.py: what they drop alerts as anywhere
/// else.
#[test]
fn hooks_and_modules_of_ones_own_are_no_package_manager() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = super::start("live packages: hooks", Runtime::Podman) else { return };
    let drop = |name: &str| format!("cp /bin/true /usr/local/bin/{name}; echo >> /usr/local/bin/{name}");
    let script = format!(
        "dpkg --pre-invoke='{}; echo x > /etc/cron.d/evp' -r nosuchpkg\nevp\n\
         mkdir /tmp/w; cd /tmp/w\n\
         printf 'import os\\nos.system(\"{}\")\\n' > pip.py\npython3 -m pip install x\nevq\n",
        drop("evp"),
        drop("evq"),
    );
    let outcome = watch(&container, &script);
    let has = |rule: &str, part: &str| {
        outcome.alerts.iter().any(|alert| alert.rule == rule && alert.output.contains(part))
    };
    for (rule, part) in [
        ("Drift package manager with hooks", "--pre-invoke"),
        ("Drift file created in sensitive directory", "/usr/local/bin/evp"),
        ("Drift file created in sensitive directory", "/etc/cron.d/evp"),
        ("Drift file created in sensitive directory", "/usr/local/bin/evq"),
        ("Drift binary executed", "/usr/local/bin/evp"),
        ("Drift binary executed", "/usr/local/bin/evq"),
    ] {
        assert!(has(rule, part), "{rule}: {part}: {:#?}", outcome.serious());
    }
    let packaged = outcome.alerts.iter().filter(|alert| alert.rule == "Drift packaged program executed");
    assert_eq!(packaged.count(), 0);
}
