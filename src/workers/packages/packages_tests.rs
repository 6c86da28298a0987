//! Transactions of real processes, and their effects on databases below directories that stand for an image
//! and a container.

use super::effect;
use super::known::Known;
use super::transaction::*;
use super::*;
use crate::events::Effect;
use crate::facts::{Agent, During, Touch, Writer};
use drift_core::command::manager::{Action, Manager};
use drift_core::container::registry::Container;
use drift_core::host::RootDir;
use drift_core::image::disk::XattrSpace;
use drift_core::image::layer::Layer;
use drift_core::image::view::Image;
use drift_core::packages::inventory::Database;
use drift_core::verdict::change::Change;
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn transaction(host: &Host, pid: i64, manager: Option<Manager>) -> Transaction {
    let container = Arc::new(Container {
        id: "c".into(),
        live: None,
        image: Err("none".into()),
        from_manifest: false,
        drifts: Arc::default(),
        installed: Arc::default(),
        declaration: Default::default(),
    });
    let agent = Arc::new(Agent {
        pid,
        process: Default::default(),
        manager,
        action: manager.map(|_| Action::Install),
        names: Vec::new(),
        command: "x".into(),
        parent_command: None,
        ancestors: Vec::new(),
        user: None,
        origin: None,
        provenance: None,
        followed: true,
    });
    let mut open = Transaction::new(host, &container, &agent);
    if manager.is_some() {
        open.add(host, PackageNotice::Started(container, agent));
    }
    open
}

#[test]
fn a_package_managers_work_ends_with_it() {
    let host = Host::new(Path::new("/"));
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    let pid = i64::from(child.id());
    let mut open = transaction(&host, pid, Some(Manager::Apt));
    assert_eq!(open.databases.len(), 1, "dpkg's is compared in any case");
    let now = Instant::now();
    let later = |seconds: u64| now + Duration::from_secs(seconds);
    assert!(!open.has_ended(&host, later(3600)), "it runs, and has done nothing yet");
    open.touched = true;
    assert!(!open.has_ended(&host, later(5)), "a pause while it runs is none of the transaction");
    assert!(open.has_ended(&host, later(31)), "but not for ever");
    child.kill().unwrap();
    // Not waited for: a process that nobody took note of has ended, too.
    while host.running_since(pid).is_some() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!open.has_ended(&host, later(1)), "notices may be on their way");
    assert!(open.has_ended(&host, later(2)));
    child.wait().unwrap();
    assert_eq!(host.running_since(pid), None);
}

#[test]
fn what_no_package_manager_does_ends_when_it_is_quiet() {
    let host = Host::new(Path::new("/"));
    let own = i64::from(std::process::id());
    let mut open = transaction(&host, own, None);
    assert!(open.databases.is_empty());
    assert!(!open.has_ended(&host, Instant::now()));
    assert!(open.has_ended(&host, Instant::now() + Duration::from_secs(1)));
    assert_eq!(host.user_of(own), Some(rustix::process::geteuid().as_raw()));
}

const DPKG: &str = "var/lib/dpkg/status";

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn status(packages: &[&str]) -> String {
    let stanza = |name: &&str| format!("Package: {name}\nStatus: install ok installed\nVersion: 1\n\n");
    packages.iter().map(stanza).collect()
}

/// Directories that stand for an image's layer and a container's root.
struct Scene {
    image: tempfile::TempDir,
    root: tempfile::TempDir,
    known: Known,
}

impl Scene {
    fn new(image: &[&str], now: &[&str]) -> Self {
        let scene = Self {
            image: tempfile::tempdir().unwrap(),
            root: tempfile::tempdir().unwrap(),
            known: Known::new(16),
        };
        put(scene.image.path(), DPKG, &status(image));
        put(scene.root.path(), DPKG, &status(now));
        scene
    }

    /// A transaction that has touched these paths.
    fn open(&self, manager: Option<Manager>, touched: &[&str]) -> Transaction {
        let host = Host::new(Path::new("/"));
        let mut open = transaction(&host, i64::from(i32::MAX), manager);
        let layer = Arc::new(Layer::on_disk(self.image.path().into(), XattrSpace::User));
        let mut container = Arc::into_inner(open.container).unwrap();
        container.image = Ok(Image::new(vec![layer]));
        open.container = Arc::new(container);
        open.root = Some(RootDir::open(self.root.path()).unwrap());
        for path in touched {
            open.add(
                &host,
                PackageNotice::Touched(Touch {
                    container: Arc::clone(&open.container),
                    path: ImagePath::from_archive(path.as_bytes()).unwrap(),
                    on_volume: false,
                    writer: 0,
                    agent: Arc::clone(&open.agent),
                    weak: false,
                }),
            );
        }
        open
    }

    /// The effect of a transaction that has touched these paths, with or without another one beside it.
    fn effect(&mut self, manager: Option<Manager>, touched: &[&str], beside: bool) -> Option<Effect> {
        let host = Host::new(Path::new("/"));
        let open = self.open(manager, touched);
        let dpkg = Database::of_systems().into_iter().filter(|db| db.ecosystem == Ecosystem::Dpkg);
        let others: BTreeSet<Database> = dpkg.filter(|_| beside).collect();
        effect::find(&host, &open, &mut self.known, true, &others)
    }
}

#[test]
fn what_two_do_at_once_is_told_of_each() {
    let mut scene = Scene::new(&["base"], &["base", "mine", "theirs"]);
    let failed = scene.effect(Some(Manager::Apt), &[], true).unwrap();
    assert_eq!(failed.to_string(), "none", "what others do is none of a package manager's that does nothing");
    let helper = scene.effect(Some(Manager::Dpkg), &["var/lib/dpkg/tmp.ci/control"], true).unwrap();
    assert_eq!(helper.to_string(), "none", "nor of one that only unpacks");
    let other = scene.effect(None, &["var/lib/dpkg/status", "var/lib/dpkg/info/theirs.list"], true).unwrap();
    assert_eq!(
        (other.added.as_slice(), other.to_string().as_str()),
        (&["theirs=1".to_owned()][..], "changed")
    );
    let apt = scene.effect(Some(Manager::Apt), &["var/lib/dpkg/info/mine.list"], true).unwrap();
    assert_eq!(apt.added, ["mine=1"]);
    // Told: another one finds nothing new, and says so if it was to change something.
    assert_eq!(scene.effect(Some(Manager::Apt), &[], false).unwrap().to_string(), "none");
    assert_eq!(scene.effect(None, &["var/lib/dpkg/status"], false), None);
}

#[test]
fn the_same_release_again_is_reinstalled() {
    let mut scene = Scene::new(&["base"], &["base"]);
    let effect = scene.effect(Some(Manager::Dpkg), &["var/lib/dpkg/info/base.list"], false).unwrap();
    assert_eq!(
        (effect.reinstalled.as_slice(), effect.action),
        (&["base=1".to_owned()][..], Some(Action::Install))
    );
    // Whoever writes to the record of an installed package, be it one of its scripts, is told of.
    let effect = scene.effect(None, &["var/lib/dpkg/info/base.postinst"], false).unwrap();
    assert_eq!(effect.reinstalled, ["base=1"]);
}

#[test]
fn a_record_that_something_else_left_as_it_is_in_the_image_was_not_rewritten() {
    let touched = ["var/lib/dpkg/info/base.list", "var/lib/dpkg/info/base.postinst"];
    let effect = |image: &str, now: &str| {
        let mut scene = Scene::new(&["base"], &["base"]);
        for path in touched {
            put(scene.image.path(), path, image);
            put(scene.root.path(), path, now);
        }
        scene.effect(None, &touched, false)
    };
    // `chown -R`, or a copy over itself.
    assert_eq!(effect("same", "same"), None);
    let changed = effect("same", "else").unwrap();
    assert_eq!((changed.reinstalled, changed.action), (vec!["base=1".to_owned()], None));
}

fn change(open: &Transaction, path: &str, gained: &[&'static str]) -> FileReport {
    let writer = Writer {
        process: Arc::default(),
        pid: 0,
        tid: 0,
        command: "dpkg --unpack".into(),
        origin: None,
        during: Some(During { manager: Manager::Dpkg, leader: open.agent.pid }),
        work: None,
        is_entry_shell: false,
    };
    FileReport {
        was: None,
        count: None,
        sensitive: false,
        container: Arc::clone(&open.container),
        image: None,
        path: ImagePath::from_archive(path.as_bytes()).unwrap(),
        new_path: None,
        change: Change::Created,
        origin: Origin::Added,
        kind: "other",
        package: None,
        gained: gained.to_vec(),
        writer: Arc::new(writer),
        work: None,
        explained: None,
        inode: Some(1),
        looked_at: 1,
        proved: false,
        drifts: 1,
    }
}

/// `dpkg --pre-invoke=… -i hello.deb`: what the package brought is the package's, what the hook made is not;
/// with nothing installed nothing is.
#[test]
fn changes_are_held_until_it_is_known_what_was_installed() {
    for (installs, proved) in [(true, [true, false]), (false, [false, false])] {
        let scene = Scene::new(&["base"], if installs { &["base", "hello"] } else { &["base"] });
        put(scene.root.path(), "var/lib/dpkg/info/hello.list", "/usr/bin/hello\n");
        for path in ["usr/bin/hello", "usr/bin/dropped"] {
            put(scene.root.path(), path, "x");
        }
        let (reported, effects) = (std::cell::RefCell::new(Vec::new()), std::cell::Cell::new(0));
        let reports = Reports {
            packages: &|_| effects.set(effects.get() + 1),
            files: &|report| {
                reported.borrow_mut().push((report.path.clone(), report.proved));
            },
        };
        let metrics = Arc::new(Metrics::default());
        let host = Host::new(Path::new("/"));
        let mut packages = Packages::new(host, metrics, Arc::default(), Arc::default(), 1 << 20, 16);
        let open = scene.open(Some(Manager::Dpkg), &["var/lib/dpkg/status"]);
        let key = Key::of(&open.container, &open.agent);
        let changes = ["/usr/bin/hello", "/usr/bin/dropped"].map(|path| change(&open, path, &[]));
        packages.open.insert(key.clone(), open);
        for change in changes {
            packages.take(PackageNotice::File(Box::new(change)), reports);
        }
        assert!(reported.borrow().is_empty() && !packages.held.is_empty());
        packages.decide(&key, reports);
        let reported: Vec<bool> = reported.take().into_iter().map(|(_, proved)| proved).collect();
        assert_eq!((reported.as_slice(), effects.get()), (&proved[..], 1));
        assert!(packages.held.is_empty());
    }
}

#[test]
fn what_is_held_is_bounded_in_number_and_time() {
    let host = Host::new(Path::new("/"));
    let scene = Scene::new(&[], &[]);
    let open = scene.open(Some(Manager::Dpkg), &[]);
    let report = change(&open, "/usr/bin/x", &[]);
    let key = Key::of_change(&report).unwrap();
    let (mut held, now) = (held::Held::default(), Instant::now());
    let mut added = 0;
    while held.add(&host, key.clone(), report.clone(), now).is_none() {
        added += 1;
        assert!(added < 100_000);
    }
    assert_eq!(held.take(&key).len(), added + 1);
    assert!(held.is_empty());

    // The process goes on, with a transaction.
    let own = During { manager: Manager::Dpkg, leader: std::process::id().into() };
    let writer = Arc::new(Writer { during: Some(own), ..Writer::clone(&report.writer) });
    let report = FileReport { writer, ..report };
    let key = Key::of_change(&report).unwrap();
    held.add(&host, key.clone(), report, now);
    let due =
        |seconds, is_open: bool| held.due(&host, now + Duration::from_secs(seconds), &|_| is_open).len();
    assert_eq!((due(1, true), due(1, false), due(119, true), due(120, true)), (0, 0, 0, 1));
}

/// Nobody's to make: reported at once.
#[test]
fn privileges_accounts_and_keys_are_not_held() {
    let scene = Scene::new(&[], &[]);
    let open = scene.open(Some(Manager::Dpkg), &[]);
    let (queue, _inbox) = super::super::worker::queue::<PackageNotice>(16, 1);
    for (path, gained, want) in [
        ("/usr/bin/x", &[][..], true),
        ("/usr/bin/x", &["setuid"], false),
        ("/etc/cron.d/x", &[], false),
        ("/etc/passwd", &[], false),
        ("/home/u/.ssh/authorized_keys", &[], false),
    ] {
        assert_eq!(hold(Some(&queue), &change(&open, path, gained)), want, "{path} {gained:?}");
    }
    assert!(!hold(None, &change(&open, "/usr/bin/x", &[])), "nobody is there to decide");
}

#[test]
fn ten_thousand_packages_are_told_in_time_and_unreadable_ones_as_unknown() {
    let names: Vec<String> = (0..10_000).map(|i| format!("p{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new(&[], &names);
    let started = Instant::now();
    let effect = scene.effect(Some(Manager::Apt), &["var/lib/dpkg/status"], false).unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(effect.changed(), 10_000);
    assert_eq!(effect.to_string(), "partial:10000 packages are more than an event lists");

    fs::remove_file(scene.root.path().join(DPKG)).unwrap();
    fs::create_dir(scene.root.path().join(DPKG)).unwrap();
    let effect = scene.effect(Some(Manager::Apt), &[], false).unwrap();
    assert!(effect.to_string().starts_with("unknown:/var/lib/dpkg/status: "), "{effect}");
    assert!(effect.is_incomplete());
}
