//! Members of the image's archives: native libraries that Java programs unpack from their jars, applications
//! that an entry point unpacks.

use crate::host::FoundFile;
use crate::image::catalog::{Mark, Member};
use crate::image::layer::Layer;
use crate::verdict::compare::sha256;
use drift_formats::entry::ImagePath;
use drift_formats::tar_frames::{TarFrames, TarKind};
use drift_formats::zip::{self, Method, Part};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};

/// Most members of one archive.
const MAX_MEMBERS: usize = 65_534;
/// Largest tar archive that is read, unpacked, bytes.
const MAX_TAR: u64 = 1 << 30;
/// Largest member that is looked for, bytes.
const MAX_MEMBER: u64 = 256 << 20;

/// Whether a name is an archive's that is looked into.
pub(super) fn is_archive(name: &[u8]) -> bool {
    is_zip(name) || is_tar(name)
}

fn is_zip(name: &[u8]) -> bool {
    [&b".jar"[..], b".war", b".ear", b".zip", b".whl"].iter().any(|end| name.ends_with(end))
}

fn is_tar(name: &[u8]) -> bool {
    [&b".tar"[..], b".tar.gz", b".tgz"].iter().any(|end| name.ends_with(end))
}

/// Lists the members of an archive that can run, or are libraries; the archive is number `number`.
///
/// # Errors
/// The system's; `InvalidData` if it is not an archive of its name's kind; `Interrupted` if `keep_going` said
/// stop.
pub(super) fn list(
    name: &[u8],
    file: File,
    number: u32,
    keep_going: &mut dyn FnMut() -> bool,
) -> io::Result<Vec<Member>> {
    if is_zip(name) {
        return list_zip(&file, number);
    }
    let plain: Box<dyn Read> = match name.ends_with(b"gz") {
        true => Box::new(flate2::read::MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    list_tar(plain, number, keep_going)
}

fn list_zip(file: &File, number: u32) -> io::Result<Vec<Member>> {
    let whole = Part::whole(file, file.metadata()?.len());
    let mut out = Vec::new();
    for (at, member) in whole.members(MAX_MEMBERS)?.iter().enumerate() {
        // A jar of jars (Spring Boot) keeps them as they are, so that the class loader can read in them.
        if is_zip(&member.name) && member.method == Method::Stored {
            let Ok(inner) = whole.part(member) else { continue };
            let nested = u32::try_from(at).ok();
            let members = inner.members(MAX_MEMBERS).unwrap_or_default();
            out.extend(wanted(&members, number, nested));
        }
    }
    out.extend(wanted(&whole.members(MAX_MEMBERS)?, number, None));
    Ok(out)
}

/// The members that can be loaded or run; classes and resources are read where they lie.
fn wanted(members: &[zip::Member], archive: u32, nested: Option<u32>) -> impl Iterator<Item = Member> + '_ {
    let runs = |name: &[u8]| {
        let base = name.rsplit(|b| *b == b'/').next().unwrap_or(name);
        let is_library = base.windows(3).any(|part| part == b".so");
        is_library
            || !base.contains(&b'.')
            || [&b".sh"[..], b".py", b".jar"].iter().any(|end| base.ends_with(end))
    };
    let here = members.iter().enumerate().filter(move |(_, m)| m.size > 0 && runs(&m.name));
    here.map(move |(at, member)| {
        let mark = Mark::Zip(member.crc, u32::try_from(at).unwrap_or(u32::MAX));
        Member { size: member.size.into(), mark, archive, nested }
    })
}

fn list_tar(
    input: Box<dyn Read>,
    archive: u32,
    keep_going: &mut dyn FnMut() -> bool,
) -> io::Result<Vec<Member>> {
    let mut frames = TarFrames::new(input.take(MAX_TAR));
    let (mut out, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    while let Some(header) = frames.next_header().map_err(|e| io::Error::other(e.to_string()))? {
        if header.kind != TarKind::Regular || header.size == 0 || header.size > MAX_MEMBER {
            continue;
        }
        let mut hash = Sha256::new();
        loop {
            if !keep_going() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match frames.read_data(&mut piece).map_err(|e| io::Error::other(e.to_string()))? {
                0 => break,
                n => hash.update(piece.get(..n).unwrap_or_default()),
            }
        }
        if out.len() >= MAX_MEMBERS {
            break;
        }
        let mark = Mark::Sha256(hash.finalize().into());
        out.push(Member { size: header.size, mark, archive, nested: None });
    }
    Ok(out)
}

/// Whether a member of the layer's archive has a file's content.
pub(super) fn has_content(layer: &Layer, archive: &ImagePath, member: &Member, found: &FoundFile) -> bool {
    let Ok(mut now) = found.open() else { return false };
    match member.mark {
        Mark::Sha256(want) => sha256(&mut now, MAX_MEMBER, || true).is_ok_and(|got| got == Some(want)),
        Mark::Zip(crc, at) => {
            let Ok(file) = layer.open_file(archive).map(File::from) else { return false };
            zip_has_content(&file, crc, at, member.nested, now).unwrap_or(false)
        }
    }
}

/// The checksum first, which costs no unpacking; then the content, for anybody can make a file of a given
/// CRC-32.
fn zip_has_content(file: &File, crc: u32, at: u32, nested: Option<u32>, mut now: File) -> io::Result<bool> {
    let mut sum = flate2::Crc::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match now.read(&mut piece)? {
            0 => break,
            n => sum.update(piece.get(..n).unwrap_or_default()),
        }
    }
    if sum.sum() != crc {
        return Ok(false);
    }
    io::Seek::rewind(&mut now)?;
    let whole = Part::whole(file, file.metadata()?.len());
    let nth = |part: &Part<'_>, n: u32| part.members(MAX_MEMBERS).map(|m| m.into_iter().nth(n as usize));
    let holder = match nested {
        Some(n) => match nth(&whole, n)? {
            Some(inner) => whole.part(&inner)?,
            None => return Ok(false),
        },
        None => whole,
    };
    let Some(member) = nth(&holder, at)? else { return Ok(false) };
    let mut content = holder.content(&member)?;
    let mut ours = vec![0; 64 << 10];
    loop {
        let n = read_full(&mut content, &mut piece)?;
        if read_full(&mut now, &mut ours)? != n || piece.get(..n) != ours.get(..n) {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn read_full(input: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while let Some(rest) = buf.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match input.read(rest)? {
            0 => break,
            n => at += n,
        }
    }
    Ok(at)
}
