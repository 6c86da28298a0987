//! The plugin as the SDK sees it: capabilities wired to the parts that do the work.

use crate::config::{Config, InitConfig};
use crate::engine::Engine;
use crate::event::raw::{code, StateEvent, SyscallEvent};
use crate::event::threads::{ThreadReader, ThreadTable};
use crate::events::{LastPayload, Reporter, EVENTS};
use crate::extract;
use crate::metrics::{self, Kind, Metrics};
use crate::prebuilt::{self, Lists};
use crate::source::params::Params;
use crate::source::scanner::Means;
use crate::source::{self, Next, Opened};
use crate::startup;
use crate::workers::Workers;
use drift_core::container::registry::LoadedManifest;
use falco_plugin::api::{ss_plugin_extract_field, ss_plugin_extract_value_offsets};
use falco_plugin::async_event::{AsyncEventPlugin, AsyncHandler};
use falco_plugin::base::{Json, Metric, MetricLabel, MetricType, MetricValue, Plugin};
use falco_plugin::extract::{EventInput, ExtractFieldInfo, ExtractPlugin};
use falco_plugin::parse::{ParseInput, ParsePlugin};
use falco_plugin::source::{EventBatch, SourcePlugin, SourcePluginInstance};
use falco_plugin::tables::{LazyTableReader, TablesInput};
use falco_plugin::FailureReason;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// One instance of the plugin.
#[derive(Debug)]
pub struct Drift {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    threads: Option<ThreadTable>,
    lists: Lists,
    engine: Engine,
    /// The payload of an event of Drift's own, while fields of it are asked for.
    payloads: LastPayload,
    /// Kept for the event source, which looks at containers on its own.
    manifests: Vec<LoadedManifest>,
    /// Whether this instance is that of the source `drift`: then no system call ever comes.
    has_source_open: bool,
    /// Whether somebody has read an event of that source.
    source_is_read: Arc<AtomicBool>,
}

impl Plugin for Drift {
    const NAME: &'static CStr = c"drift";
    const PLUGIN_VERSION: &'static CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"0.0.0",
        };
    const DESCRIPTION: &'static CStr = c"Tells what in a container is not what its image shipped";
    const CONTACT: &'static CStr = c"the drift authors";
    type ConfigType = Json<InitConfig>;

    fn new(
        input: Option<&TablesInput>,
        Json(InitConfig(raw)): Self::ConfigType,
    ) -> Result<Self, anyhow::Error> {
        let config = Arc::new(Config::try_from(raw)?);
        // After the SDK has set its own.
        log::set_max_level(config.log_level);
        let manifests = prebuilt::load_all(&config)?;
        let lists = Lists::load(&config)?;
        let metrics = Arc::new(Metrics::default());
        // Without threads (a source of another plugin is open) there is nothing to say, and nothing wrong.
        let threads = input.and_then(|tables| ThreadTable::import(tables).ok());
        let engine = Engine::new(Arc::clone(&config), manifests.clone(), lists.clone(), Arc::clone(&metrics));
        let source_is_read = Arc::default();
        Ok(Self {
            config,
            metrics,
            threads,
            lists,
            engine,
            payloads: LastPayload::default(),
            manifests,
            has_source_open: false,
            source_is_read,
        })
    }

    fn get_metrics(&mut self) -> impl IntoIterator<Item = Metric> {
        self.metrics.panics_caught.set(metrics::interface_panics() + self.metrics.worker_panics.get());
        self.metrics.list().into_iter().map(|(name, kind, _, value)| {
            let kind = match kind {
                Kind::Counter => MetricType::Monotonic,
                Kind::Gauge => MetricType::NonMonotonic,
            };
            MetricLabel::new(name, kind).with_value(MetricValue::U64(value))
        })
    }
}

impl Drift {
    /// The instance's counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl ParsePlugin for Drift {
    type Event<'a> = StateEvent<'a>;

    fn parse_event(
        &mut self,
        event: &EventInput<'_, Self::Event<'_>>,
        input: &ParseInput<'_>,
    ) -> Result<(), anyhow::Error> {
        let reader = ThreadReader::new(self.threads.as_ref(), &input.reader);
        let StateEvent(mut parsed) = event.event()?;
        // As rules see it: what is found out here is not found out again for them.
        parsed.number = event.event_number() as u64;
        self.engine.observe(&parsed, reader);
        Ok(())
    }
}

impl ExtractPlugin for Drift {
    type Event<'a> = SyscallEvent<'a>;
    type ExtractContext = ();

    /// Empty: the SDK's table makes a new string for each answer. [`extract::FIELDS`] is the table, and the
    /// two functions below replace what the SDK would do with its own.
    const EXTRACT_FIELDS: &'static [ExtractFieldInfo<Self>] = &[];

    fn get_fields() -> &'static CStr {
        extract::schema()
    }

    fn extract_fields<'a>(
        &'a mut self,
        event_input: &EventInput<'a, Self::Event<'a>>,
        table_reader: &LazyTableReader<'_>,
        fields: &mut [ss_plugin_extract_field],
        _offsets: Option<&mut ss_plugin_extract_value_offsets>,
        storage: &'a bumpalo::Bump,
    ) -> Result<(), anyhow::Error> {
        let mut event = event_input.event()?;
        event.number = event_input.event_number() as u64;
        if event.code == code::PLUGIN {
            self.source_is_read.store(true, Ordering::Relaxed);
        }
        let reader = ThreadReader::new(self.threads.as_ref(), table_reader);
        for request in fields {
            extract::answer(&mut self.engine, &mut self.payloads, &event, reader, request, storage)?;
        }
        Ok(())
    }
}

impl AsyncEventPlugin for Drift {
    const ASYNC_EVENTS: &'static [&'static str] = EVENTS;
    const EVENT_SOURCES: &'static [&'static str] = &["syscall"];

    fn start_async(&mut self, handler: AsyncHandler) -> Result<(), anyhow::Error> {
        if self.has_source_open {
            // The engine starts every instance, also that of a source in which nothing would ever be asked of
            // these threads.
            return Ok(());
        }
        startup::log_facts(self.engine.host(), &self.config, self.threads.is_some());
        let reporter = Reporter::to_engine(handler);
        let lists = self.lists.clone();
        let background = Workers::start(self.engine.host(), &self.config, &self.metrics, lists, &reporter)?;
        self.engine.start(background);
        Ok(())
    }

    fn stop_async(&mut self) -> Result<(), anyhow::Error> {
        self.engine.stop();
        Ok(())
    }
}

impl SourcePlugin for Drift {
    type Instance = OpenSource;
    const EVENT_SOURCE: &'static CStr = source::NAME;
    const PLUGIN_ID: u32 = source::PLUGIN_ID;
    type Event<'a> = SyscallEvent<'a>;

    fn open(&mut self, params: Option<&str>) -> Result<Self::Instance, anyhow::Error> {
        let params = Params::parse(params.unwrap_or_default()).map_err(anyhow::Error::msg)?;
        let means = Means {
            config: Arc::clone(&self.config),
            manifests: self.manifests.clone(),
            approved: self.lists.approved.clone(),
            metrics: Arc::clone(&self.metrics),
            is_read: Arc::clone(&self.source_is_read),
        };
        let opened = Opened::start(params, means)?;
        self.has_source_open = true;
        // Started before, by an engine that does so.
        self.engine.stop();
        Ok(OpenSource(opened))
    }

    fn close(&mut self, _: &mut Self::Instance) {
        self.has_source_open = false;
    }

    fn event_to_string(
        &mut self,
        event: &falco_plugin::source::EventInput<Self::Event<'_>>,
    ) -> Result<CString, anyhow::Error> {
        self.source_is_read.store(true, Ordering::Relaxed);
        let event = event.event()?;
        let payload = event.source_payload(source::PLUGIN_ID).unwrap_or_default();
        Ok(CString::new(payload)?)
    }
}

/// The source while it is open.
#[derive(Debug)]
pub struct OpenSource(Opened);

impl SourcePluginInstance for OpenSource {
    type Plugin = Drift;

    fn next_batch(&mut self, _: &mut Drift, batch: &mut EventBatch<'_>) -> Result<(), anyhow::Error> {
        match self.0.next() {
            Next::Events(events) => {
                // The engine sets the time.
                events.iter().try_for_each(|data| batch.add(Self::plugin_event(data)))?;
                Ok(())
            }
            Next::Nothing => Err(anyhow::anyhow!("no event yet").context(FailureReason::Timeout)),
            Next::End => Err(anyhow::anyhow!("every container was compared").context(FailureReason::Eof)),
        }
    }
}
