//! Events as the kernel's probe writes them.
//!
//! Header: falcosecurity/libs `driver/ppm_events_public.h`, `struct ppm_evt_hdr`. Parameters of exec events:
//! `driver/event_table.c`, `PPME_SYSCALL_EXECVE_19_X`. Numbers are written out here, and not taken from
//! drift, so that a wrong one there is seen.

#![allow(missing_docs)] // The names are the probe's.

pub const PROCEXIT_1_E: u16 = 186;
pub const CLONE_20_X: u16 = 223;
pub const EXECVE_19_E: u16 = 292;
pub const EXECVE_19_X: u16 = 293;
pub const OPENAT_2_X: u16 = 307;
pub const EXECVEAT_X: u16 = 331;
pub const ACCEPT4_6_X: u16 = 389;
pub const ASYNCEVENT_E: u16 = 402;

/// `PPM_EXE_UPPER_LAYER`.
pub const UPPER: u32 = 1 << 1;
/// `PPM_EXE_FROM_MEMFD`.
pub const MEMFD: u32 = 1 << 2;
/// `PPM_EXE_LOWER_LAYER`.
pub const LOWER: u32 = 1 << 3;

/// When all events here happen, nanoseconds since the epoch.
pub const NOW: u64 = 1_700_000_000_000_000_000;

/// An event of these parameters. Lengths are 2 bytes wide, or 4 in an async event.
pub fn event(code: u16, tid: i64, params: &[&[u8]]) -> Vec<u8> {
    let mut payload = Vec::new();
    for param in params {
        match code {
            ASYNCEVENT_E => payload.extend_from_slice(&(param.len() as u32).to_ne_bytes()),
            _ => payload.extend_from_slice(&(param.len() as u16).to_ne_bytes()),
        }
    }
    params.iter().for_each(|param| payload.extend_from_slice(param));
    raw(code, tid, params.len() as u32, &payload)
}

/// An event of any bytes: only its length is true, as the engine's own framing relies on it.
pub fn raw(code: u16, tid: i64, nparams: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&NOW.to_ne_bytes());
    out.extend_from_slice(&tid.to_ne_bytes());
    out.extend_from_slice(&(26 + payload.len() as u32).to_ne_bytes());
    out.extend_from_slice(&code.to_ne_bytes());
    out.extend_from_slice(&nparams.to_ne_bytes());
    out.extend_from_slice(payload);
    out
}

/// An async event.
pub fn async_event(tid: i64, name: &str, data: &[u8]) -> Vec<u8> {
    event(ASYNCEVENT_E, tid, &[&0u32.to_ne_bytes(), format!("{name}\0").as_bytes(), data])
}

/// An exec event.
#[derive(Debug, Clone)]
pub struct Exec<'a> {
    pub code: u16,
    pub result: i64,
    pub tid: i64,
    /// `argv`, `argv[0]` first.
    pub argv: &'a [&'a str],
    pub cwd: &'a str,
    pub cgroup: &'a str,
    pub flags: u32,
    pub ino: u64,
    pub path: &'a str,
    /// Environment; NULs separate variables.
    pub env: &'a str,
}

impl Exec<'_> {
    /// A successful execve.
    pub fn new<'a>(tid: i64, cgroup: &'a str, path: &'a str, flags: u32, argv: &'a [&'a str]) -> Exec<'a> {
        let ino = 1000 + path.len() as u64;
        Exec {
            code: EXECVE_19_X,
            result: 0,
            tid,
            argv,
            cwd: "/",
            cgroup,
            flags,
            ino,
            path,
            env: "SECRET=hunter2",
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let text = |s: &str| format!("{s}\0").into_bytes();
        let args: String = self.argv.iter().skip(1).map(|a| format!("{a}\0")).collect();
        let (zero4, zero8) = ([0u8; 4].to_vec(), [0u8; 8].to_vec());
        let tid = self.tid.to_ne_bytes().to_vec();
        let params = [
            self.result.to_ne_bytes().to_vec(),                    // 0 res
            text(self.argv.first().copied().unwrap_or("")),        // 1 exe
            args.into_bytes(),                                     // 2 args
            tid.clone(),                                           // 3 tid
            tid,                                                   // 4 pid
            1i64.to_ne_bytes().to_vec(),                           // 5 ptid
            text(self.cwd),                                        // 6 cwd
            1024u64.to_ne_bytes().to_vec(),                        // 7 fdlimit
            zero8.clone(),                                         // 8 pgft_maj
            zero8.clone(),                                         // 9 pgft_min
            zero4.clone(),                                         // 10 vm_size
            zero4.clone(),                                         // 11 vm_rss
            zero4.clone(),                                         // 12 vm_swap
            text("comm"),                                          // 13 comm
            text(&format!("cpuset={0}\0memory={0}", self.cgroup)), // 14 cgroups
            text(self.env),                                        // 15 env
            zero4.clone(),                                         // 16 tty
            zero8.clone(),                                         // 17 vpgid
            zero4.clone(),                                         // 18 loginuid
            self.flags.to_ne_bytes().to_vec(),                     // 19 flags
            zero8.clone(),                                         // 20 cap_inheritable
            zero8.clone(),                                         // 21 cap_permitted
            zero8.clone(),                                         // 22 cap_effective
            self.ino.to_ne_bytes().to_vec(),                       // 23 exe_ino
            (NOW - 7).to_ne_bytes().to_vec(),                      // 24 exe_ino_ctime
            (NOW - 9).to_ne_bytes().to_vec(),                      // 25 exe_ino_mtime
            zero4.clone(),                                         // 26 uid
            text(self.path),                                       // 27 trusted_exepath
            zero8,                                                 // 28 pgid
            zero4,                                                 // 29 gid
            text(self.path),                                       // 30 filename
        ];
        let params: Vec<&[u8]> = params.iter().map(Vec::as_slice).collect();
        event(self.code, self.tid, &params)
    }
}
