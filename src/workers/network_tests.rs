use super::*;
use crate::config::RawConfig;
use crate::events::OwnEvent;
use drift_core::container::declared::ImageIdentity;
use drift_core::network::baseline::Baselines;
use drift_core::network::baseline::Peer;
use drift_core::network::Direction;
use drift_formats::ports::Protocol;
use std::sync::Mutex;

fn container() -> Arc<Container> {
    Arc::new(Container {
        id: "c".into(),
        live: None,
        image: Err("not looked at".into()),
        from_manifest: false,
        drifts: Arc::default(),
        installed: Default::default(),
        declaration: Arc::default(),
    })
}

fn early(container: &Arc<Container>, address: [u8; 4], port: u16) -> Notice {
    let address = address.into();
    let peer = Peer { direction: Direction::Outbound, address, name: None, port, protocol: Protocol::Tcp };
    Notice::Early(Box::new(EarlyPeer::new(Arc::clone(container), &peer, None, 7)))
}

fn learner(network: &Arc<Network>) -> Learner {
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    Learner::new(Arc::clone(network), Host::new("/none".as_ref()), config, Arc::default(), Arc::default())
}

/// What a container did before anybody knew its image is judged once the image is known.
#[test]
fn early_peers_are_judged_later() {
    let baselines = "baselines: [{images: ['app:*'], outbound: [{to: [192.0.2.1]}]}]";
    let network = Arc::new(Network::new(Baselines::parse(baselines).unwrap(), None));
    let learner = learner(&network);
    let known = container();
    let mut state = State::default();
    for notice in [
        early(&known, [192, 0, 2, 1], 443),
        early(&known, [198, 51, 100, 1], 443),
        early(&known, [192, 0, 2, 53], 53),
        early(&container(), [198, 51, 100, 1], 443),
    ] {
        learner.take(notice, &mut state);
    }
    let told = Mutex::new(Vec::new());
    let report = |report: &PeerReport| told.lock().unwrap().push(report.payload());
    learner.judge_early(&mut state, &report);
    assert!(told.lock().unwrap().is_empty(), "nothing is known yet");
    assert_eq!(state.early.len(), 4);
    known.declaration.set_nameservers(vec![[192, 0, 2, 53].into()]);
    let image = ImageIdentity { reference: Some("app:1".into()), ..ImageIdentity::default() };
    known.declaration.set_told(Some(Arc::new(image)));
    learner.judge_early(&mut state, &report);
    assert_eq!(state.early.len(), 1, "the other container's waits on");
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["peer"], "198.51.100.1:443/tcp");
    assert_eq!(told[0]["peer_expected"], "unexpected");
    assert_eq!(told[0]["peer_baseline"], "reviewed");
    assert_eq!(told[0]["image"], "app:1");
}

#[test]
fn what_waits_is_bounded() {
    let network = Arc::new(Network::new(Baselines::default(), None));
    let (learner, known) = (learner(&network), container());
    let mut state = State::default();
    for _ in 0..MAX_EARLY + 10 {
        learner.take(early(&known, [198, 51, 100, 1], 443), &mut state);
    }
    for _ in 0..MAX_CONTAINERS + 10 {
        learner.take(Notice::Container(Arc::clone(&known)), &mut state);
    }
    assert_eq!((state.early.len(), state.running.len()), (MAX_EARLY, MAX_CONTAINERS));
    assert_eq!(learner.metrics.queue_full.get(), 20);
    learner.count_time(&mut state, Duration::from_secs(1));
    assert_eq!(state.running.len(), 0, "none of them runs");
}

#[test]
fn an_orderly_end_stores_what_was_learned() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("learned.yaml");
    let raw = format!(r#"{{"network":{{"learning":"1h","learned":"{}"}}}}"#, path.display());
    let config = Arc::new(Config::try_from(serde_json::from_str::<RawConfig>(&raw).unwrap()).unwrap());
    let network = Arc::new(Network::new(Baselines::default(), Some(Learned::new(3600))));
    let host = Host::new("/none".as_ref());
    let learner = Learner::new(Arc::clone(&network), host, config, Arc::default(), Arc::default());
    let (queue, notices) = super::super::worker::queue(16, 1);
    let address = [192, 0, 2, 1].into();
    let peer = Peer { direction: Direction::Inbound, address, name: None, port: 1, protocol: Protocol::Tcp };
    queue.send(Notice::Peer("app:1".into(), LearnedPeer::of(&peer))).unwrap();
    drop(queue);
    learner.run(&notices, &|_| {});
    assert_eq!(store::load_learned(&path, 3600).unwrap().peers(), 1);
}
