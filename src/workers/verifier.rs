//! Compares and hashes files that are too large for the event thread.

use super::Pace;
use crate::config::Config;
use crate::events::Finding;
use crate::facts::{Against, VerifyJob};
use crate::metrics::Metrics;
use crate::workers::worker::{self, Inbox};
use crossbeam_channel::Sender;
use drift_core::container::registry::Container;
use drift_core::verdict::compare::{same_content, sha256, Comparison};
use drift_core::verdict::origin::Origin;
use std::fs::File;
use std::io::Seek;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// How often a file is tried that cannot be read, or not be compared.
const MAX_TRIES: u32 = 3;
/// Pause before another try, longer each time.
const PAUSE: Duration = Duration::from_millis(100);

/// The verifier's thread.
#[derive(Debug)]
pub struct Verifier {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl Verifier {
    /// A verifier that works until `stop`.
    pub fn new(config: Arc<Config>, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Self {
        Self { config, metrics, stop }
    }

    /// Works until the queue closes; every finding goes to the event thread, comparisons to `report` as well.
    pub fn run(&self, jobs: &Inbox<VerifyJob>, found: &Sender<Finding>, report: &dyn Fn(&Finding)) {
        let mut pace = Pace::new(self.config.cpu_percent, Arc::clone(&self.stop));
        for job in jobs.iter() {
            pace.begin();
            let finding = self.verify(job, &mut pace);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if finding.failed { &self.metrics.verify_failed } else { &self.metrics.verified }.inc();
            if finding.origin.is_some() {
                report(&finding);
            }
            // There is room: the event thread takes all of them before it asks for more.
            let _ = found.try_send(finding);
        }
    }

    fn verify(&self, mut job: VerifyJob, pace: &mut Pace) -> Finding {
        let (mut digest, mut origin, mut failed) = (None, None, true);
        for again in 0..MAX_TRIES {
            worker::sleep(PAUSE * again, &self.stop);
            if let Ok((found, verdict)) = self.look(&mut job, pace) {
                (digest, origin) = (found, verdict);
                failed = job.against.is_some() && origin.is_none();
            }
            if !failed || self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        // That it is not known, too, is a verdict, for rules to go by.
        let origin = origin.or((failed && job.against.is_some()).then_some(Origin::ImageUnverified));
        let (mut layer, mut package) = (None, None);
        if let (Some(against), Ok(image)) = (&job.against, &job.container.image) {
            layer = Some(image.layer_name(against.layer).to_string());
            package = image.owner_or_unknown(&against.path);
        }
        let path = job.against.map(|a| a.path);
        let container = job.container.id.clone();
        let (image, identity) = (job.container.declaration.reference(), job.container.declaration.identity());
        let (key, tid, process, sha256) = (job.key, job.tid, job.process, digest);
        Finding {
            key,
            container,
            image,
            identity,
            path,
            origin,
            layer,
            package,
            failed,
            sha256,
            tid,
            process,
        }
    }

    /// The file's digest, and what it is against the image's.
    fn look(
        &self,
        job: &mut VerifyJob,
        pace: &mut Pace,
    ) -> std::io::Result<(Option<[u8; 32]>, Option<Origin>)> {
        job.file.rewind()?;
        let digest = sha256(&mut job.file, self.config.background_max, || pace.step())?;
        let origin = match &job.against {
            Some(against) => self.compare(&mut job.file, &job.container, against, digest, pace)?,
            None => None,
        };
        Ok((digest, origin))
    }

    fn compare(
        &self,
        file: &mut File,
        container: &Container,
        against: &Against,
        digest: Option<[u8; 32]>,
        pace: &mut Pace,
    ) -> std::io::Result<Option<Origin>> {
        // Without an overlay there is no copying up: the same content is simply the image's.
        let overlay = container.live.as_ref().is_none_or(|live| live.is_overlay);
        let same = if overlay { Origin::ImageTouched } else { Origin::Image };
        if let (Some(want), Some(got)) = (against.sha256, digest) {
            return Ok(Some(if want == got { same } else { Origin::ImageModified }));
        }
        let layer = container.image.as_ref().ok().and_then(|image| image.layers().get(against.layer));
        let Some(layer) = layer.filter(|_| digest.is_some()) else { return Ok(None) };
        let mut original = File::from(layer.open_file(&against.path)?);
        file.rewind()?;
        Ok(match same_content(file, &mut original, || pace.step())? {
            Comparison::Same => Some(same),
            Comparison::Different if layer.is_metacopy(&against.path) => None,
            Comparison::Different => Some(Origin::ImageModified),
        })
    }
}
