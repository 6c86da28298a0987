//! A process that is gone, and whose file cannot be looked at any more: the kernel said that it ran from an
//! overlay's lower layer, but a container that may mount can have made itself that overlay. A real overlay
//! root, in a control group that names a container.

use drift::config::{Config, RawConfig};
use drift_core::container::registry::Registry;
use drift_core::host::{ExeFlags, InodeId};
use drift_core::host::{FoundFile, Host};
use drift_core::verdict::judge::{Judge, Subject};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::Runner;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::live::{self, Container, Image};
use testkit::skip::skip;

/// Makes an overlay its root, in a mount namespace of its own, and waits to be killed. Names of layers are
/// relative to its first argument; with a second one they are taken as the host's, after a chroot to the
/// first.
const INSIDE: &str = "
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result != 0: sys.exit(os.strerror(ctypes.get_errno()))
base = sys.argv[1].encode()
check(libc.unshare(0x20000))
check(libc.mount(b'none', b'/', None, 0x4000 | 0x40000, None))
if len(sys.argv) > 2:
    os.chroot(base)
    base = b''
options = b'lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work' % (base, base, base)
check(libc.mount(b'overlay', base + b'/merged', b'overlay', 0, options))
os.chroot(base + b'/merged'); os.chdir('/')
print('ready', flush=True)
time.sleep(600)
";

/// The process, and its control group.
struct Inside {
    child: Child,
    group: PathBuf,
}

impl Inside {
    fn start(base: &Path, id: &str, more: &[&str]) -> Option<Self> {
        let hierarchy = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let group = hierarchy.iter().find_map(|top| {
            let group = Path::new(top).join("docker").join(id);
            std::fs::create_dir_all(&group).ok().and(group.join("cgroup.procs").exists().then_some(group))
        })?;
        let mut child = Command::new("python3")
            .args(["-c", INSIDE])
            .arg(base)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Some(Self { child, group })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir(&self.group);
    }
}

#[test]
fn a_lower_layer_of_another_overlay_is_not_the_images() {
    let _alone = super::alone();
    const TEST: &str = "vanished: another overlay";
    if !rustix::process::geteuid().is_root() {
        return skip(TEST, "mounting needs root");
    }
    let tmp = tempfile::tempdir_in(testkit::target_dir()).unwrap();
    for dir in ["lower/usr/bin", "upper", "work", "merged"] {
        std::fs::create_dir_all(tmp.path().join(dir)).unwrap();
    }
    let tool = tmp.path().join("lower/usr/bin/tool");
    std::fs::write(&tool, "the image's").unwrap();
    // The kernel's clock for files has ticks of some milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let fake = tmp.path().join("fake");
    std::fs::write(&fake, "not the image's").unwrap();
    let inode = |path: &Path| FoundFile::of(std::fs::File::open(path).unwrap()).unwrap().inode;
    let id = "d".repeat(40) + &format!("{:024x}", std::process::id());
    let Some(inside) = Inside::start(tmp.path(), &id, &[]) else {
        return skip(TEST, "no python3, or no control group can be made");
    };

    let host = Host::new(Path::new("/"));
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    let mut registry = Registry::new(host.clone(), config.registry(), Vec::new());
    let (container, _) = registry.look_at(&id, i64::from(inside.child.id()));
    assert!(container.live.as_ref().is_some_and(|live| live.is_overlay), "{container:?}");
    let judge = Judge::new(host, config.inline_max);
    let lower = ExeFlags { lower: true, ..ExeFlags::default() };
    let origin = |inode: InodeId| {
        let subject =
            Subject { path: b"/usr/bin/tool", flags: lower, flags_given: true, inode, found: None, pid: 0 };
        judge.judge(&container, &subject).origin
    };
    assert_eq!(origin(inode(&tool)), Origin::Image);
    assert_eq!(origin(inode(&fake)), Origin::Unknown, "another overlay's lower layer");
    assert_eq!(origin(InodeId::default()), Origin::Unknown, "no times, no proof");
}

/// The first process of a container has made itself a root, before drift looks, and named its layers as
/// directories of the host are named; the host has them, too.
#[test]
fn a_root_that_is_not_what_its_layers_names_say_is_no_image() {
    let _alone = super::alone();
    const TEST: &str = "vanished: a root of its own";
    if !rustix::process::geteuid().is_root() {
        return skip(TEST, "mounting needs root");
    }
    let tmp = tempfile::tempdir_in(testkit::target_dir()).unwrap();
    for dir in ["lower/usr/bin", "upper", "work", "merged"] {
        std::fs::create_dir_all(tmp.path().join(dir)).unwrap();
    }
    let id = "e".repeat(40) + &format!("{:024x}", std::process::id());
    let Some(inside) = Inside::start(tmp.path(), &id, &["chroot"]) else {
        return skip(TEST, "no python3, or no control group can be made");
    };
    // The host's directories of those names, seen through a host root of the test's making.
    let host_root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/proc", host_root.path().join("proc")).unwrap();
    for dir in ["lower/usr/bin", "upper"] {
        std::fs::create_dir_all(host_root.path().join(dir)).unwrap();
    }
    let host = Host::new(host_root.path());
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    let mut registry = Registry::new(host, config.registry(), Vec::new());
    let (container, _) = registry.look_at(&id, i64::from(inside.child.id()));
    assert!(container.live.is_some(), "{container:?}");
    let why = container.image.as_ref().err().map(String::as_str);
    assert_eq!(why, Some("the root is not what its layers' names say"), "{container:?}");
}

/// A script whose name is relative, and which has gone to another directory when it is looked at: there the
/// image has a script of that name.
#[test]
fn a_script_that_has_gone_elsewhere_is_the_one_that_was_started() {
    let _alone = super::alone();
    if let Some(why) = live::missing(live::PODMAN_TOOLS) {
        return skip("vanished: a script that has gone elsewhere", &why);
    }
    let podman = Container::podman(&Image::debian().unwrap()).unwrap();
    podman.put("second", b"cd /usr/local/bin; echo $$ > /vol/there; sleep 600").unwrap();
    podman.put("start", b"cp /corpus/second /tmp/second; cd /tmp; exec sh ./second").unwrap();
    podman.run("sh /corpus/start").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !podman.vol().join("there").exists() {
        assert!(Instant::now() < deadline, "the script does not run");
        std::thread::sleep(Duration::from_millis(20));
    }
    let is_it = |pid: &i64| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line == b"sh\0./second\0"
            && std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(podman.id())
    };
    let host = Host::new(Path::new("/"));
    let pid = host.pids().into_iter().find(is_it).expect("the script's process");
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    let mut registry = Registry::new(host.clone(), config.registry(), Vec::new());
    let (container, _) = registry.look_at(podman.id(), pid);
    let judge = Judge::new(host, 1 << 20);
    let script = judge.judge_script(&container, &Runner { pid, cwd: b"/tmp" }, b"./second");
    assert_eq!((script.judgement.origin, script.path.as_slice()), (Origin::Added, &b"/tmp/second"[..]));
    // What the engine does not know, the process does; and what it has wrong.
    for cwd in [&b""[..], b"/opt/none"] {
        let script = judge.judge_script(&container, &Runner { pid, cwd }, b"./second");
        assert_eq!(script.path, b"/usr/local/bin/second");
    }
}
