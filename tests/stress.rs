//! The layer cache, which all instances of a process share, under many threads at once: whatever is built,
//! asked and dropped at the same time, every answer is the layer's. Also run under ThreadSanitizer
//! (docs/security.md), and for that in a process of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drift_core::image::cache::LayerCache;
use drift_core::image::disk::{WalkLimits, XattrSpace};
use drift_core::image::view::{Image, Presence};
use drift_formats::entry::ImagePath;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn path(path: &str) -> ImagePath {
    ImagePath::from_archive(path.as_bytes()).unwrap()
}

#[test]
fn answers_stay_true_while_indexes_come_and_go() {
    let tmp = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = (0..4)
        .map(|n| {
            let dir = tmp.path().join(format!("layer{n}"));
            std::fs::create_dir_all(dir.join("usr/bin")).unwrap();
            for file in 0..50 {
                std::fs::write(dir.join(format!("usr/bin/of{n}-{file}")), "x").unwrap();
            }
            dir
        })
        .collect();
    let cache = LayerCache::new();
    let seconds = std::env::var("DRIFT_STRESS_SECONDS").map_or(1.0, |s| s.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for worker in 0..6usize {
            let (cache, dirs, stop, answers) = (&cache, &dirs, &stop, &answers);
            scope.spawn(move || {
                let mut round = worker;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let layers = dirs.iter().map(|dir| cache.layer(dir, XattrSpace::User)).collect();
                    let image = Image::new(layers);
                    match worker {
                        0 => cache.enforce(round as u64 % 3 * 2000, 2 + round % 3),
                        1 => drop(cache.totals()),
                        2 | 3 => {
                            let layer = &image.layers()[round % 4];
                            let mut left = round % 4;
                            let mut go = || {
                                left = left.saturating_sub(1);
                                left > 0
                            };
                            layer.build_index(WalkLimits::default(), &mut go);
                            drift_core::packages::owners::build(layer, &mut go);
                        }
                        _ => {
                            let (layer, file) = (round % 4, round % 50);
                            let has = image.lookup(&path(&format!("/usr/bin/of{layer}-{file}")));
                            assert!(
                                matches!(has, Presence::Present { layer: l, .. } if l == layer),
                                "{has:?}"
                            );
                            let none = image.lookup(&path(&format!("/usr/bin/none-{file}")));
                            assert_eq!(none, Presence::Absent);
                            answers.fetch_add(2, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        // A busy machine may take longer for its first answers.
        let late = end + Duration::from_secs(60);
        while Instant::now() < end || (answers.load(Ordering::Relaxed) <= 100 && Instant::now() < late) {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let answers = answers.into_inner();
    println!("{answers} answers");
    assert!(answers > 100, "{answers} answers only");
}
