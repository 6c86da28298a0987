//! Events as the kernel's probe writes them: falcosecurity/libs `driver/ppm_events_public.h`
//! (`struct ppm_evt_hdr`) and `driver/event_table.c` (`PPME_SYSCALL_EXECVE_19_X`).

pub const EXECVE_X: u16 = 293;
pub const OPENAT_X: u16 = 307;

/// `PPM_EXE_LOWER_LAYER`.
pub const LOWER: u32 = 1 << 3;

/// When all events happen, nanoseconds since the epoch.
pub const NOW: u64 = 1_795_000_000_000_000_000;

/// An event of these parameters.
pub fn event(code: u16, tid: i64, params: &[&[u8]]) -> Vec<u8> {
    let lengths: Vec<u8> = params.iter().flat_map(|p| (p.len() as u16).to_ne_bytes()).collect();
    let body: usize = params.iter().map(|p| p.len()).sum();
    let mut out = Vec::new();
    out.extend(NOW.to_ne_bytes());
    out.extend(tid.to_ne_bytes());
    out.extend(((26 + lengths.len() + body) as u32).to_ne_bytes());
    out.extend(code.to_ne_bytes());
    out.extend((params.len() as u32).to_ne_bytes());
    out.extend(lengths);
    params.iter().for_each(|p| out.extend_from_slice(p));
    out
}

/// A call that opened a file: an ordinary event of a thread.
pub fn openat(tid: i64) -> Vec<u8> {
    let (fd, dir, zero) = (3i64.to_ne_bytes(), (-100i64).to_ne_bytes(), [0u8; 4]);
    event(OPENAT_X, tid, &[&fd, &dir, b"/etc/hosts\0", &zero, &zero, &zero, &[0; 8]])
}

/// A call that opened a file for writing.
pub fn openat_to_write(tid: i64, path: &str, inode: u64) -> Vec<u8> {
    let (fd, dir, zero) = (3i64.to_ne_bytes(), (-100i64).to_ne_bytes(), [0u8; 4]);
    // PPM_O_WRONLY, PPM_O_CREAT.
    let flags = (1u32 << 1 | 1 << 2).to_ne_bytes();
    let path = format!("{path}\0").into_bytes();
    event(OPENAT_X, tid, &[&fd, &dir, &path, &flags, &zero, &zero, &inode.to_ne_bytes()])
}

/// A call that opened a file to read, of an overlay's upper layer or of a lower one.
pub fn openat_to_read(tid: i64, path: &str, inode: u64, is_upper: bool) -> Vec<u8> {
    let (fd, dir, zero) = (3i64.to_ne_bytes(), (-100i64).to_ne_bytes(), [0u8; 4]);
    // PPM_O_RDONLY, PPM_FD_UPPER_LAYER or PPM_FD_LOWER_LAYER.
    let flags = (1u32 | if is_upper { 1 << 15 } else { 1 << 16 }).to_ne_bytes();
    let path = format!("{path}\0").into_bytes();
    event(OPENAT_X, tid, &[&fd, &dir, &path, &flags, &zero, &zero, &inode.to_ne_bytes()])
}

/// A process's end (`PPME_PROCEXIT_1_E`).
pub fn exit(tid: i64) -> Vec<u8> {
    let zero = [0u8; 8];
    event(186, tid, &[&zero, &zero, &[0], &[0], &zero])
}

/// Inode number, change and modification time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inode(pub u64, pub u64, pub u64);

/// A successful exec of an executable in a lower layer.
pub fn exec(tid: i64, cgroup: &str, path: &str, args: &[&str], inode: Inode) -> Vec<u8> {
    let text = |s: &str| format!("{s}\0").into_bytes();
    let (four, eight, id) = (vec![0u8; 4], vec![0u8; 8], tid.to_ne_bytes().to_vec());
    let cgroups = ["cpuset", "cpu", "io", "memory", "pids"].map(|c| text(&format!("{c}={cgroup}"))).concat();
    let params = [
        eight.clone(),                                        // 0 res
        text(path),                                           // 1 exe
        args.iter().flat_map(|a| text(a)).collect(),          // 2 args
        id.clone(),                                           // 3 tid
        id,                                                   // 4 pid
        1i64.to_ne_bytes().to_vec(),                          // 5 ptid
        text("/"),                                            // 6 cwd
        eight.clone(),                                        // 7 fdlimit
        eight.clone(),                                        // 8 pgft_maj
        eight.clone(),                                        // 9 pgft_min
        four.clone(),                                         // 10 vm_size
        four.clone(),                                         // 11 vm_rss
        four.clone(),                                         // 12 vm_swap
        text("comm"),                                         // 13 comm
        cgroups,                                              // 14 cgroups
        text("PATH=/usr/local/sbin:/usr/local/bin:/usr/bin"), // 15 env
        four.clone(),                                         // 16 tty
        eight.clone(),                                        // 17 vpgid
        four.clone(),                                         // 18 loginuid
        LOWER.to_ne_bytes().to_vec(),                         // 19 flags
        eight.clone(),                                        // 20 cap_inheritable
        eight.clone(),                                        // 21 cap_permitted
        eight.clone(),                                        // 22 cap_effective
        inode.0.to_ne_bytes().to_vec(),                       // 23 exe_ino
        inode.1.to_ne_bytes().to_vec(),                       // 24 exe_ino_ctime
        inode.2.to_ne_bytes().to_vec(),                       // 25 exe_ino_mtime
        four.clone(),                                         // 26 uid
        text(path),                                           // 27 trusted_exepath
        eight,                                                // 28 pgid
        four,                                                 // 29 gid
        text(path),                                           // 30 filename
    ];
    event(EXECVE_X, tid, &params.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
