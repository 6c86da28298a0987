# Everything a developer, and CI, runs. `make test` as root on Debian installs what it needs.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: build install uninstall demo demo-picture test bench dist docs image clean

build:
	$(CARGO) build --release --locked --workspace

# Into a Falco that was installed as a package. DESTDIR, SYSCONFDIR, DATADIR, BINDIR: see the script.
install: build
	scripts/install.sh install

uninstall:
	scripts/install.sh uninstall

# A real container under attack, replayed through the plugin in a real engine. DEMO_FLAGS=--json: Falco's lines.
DEMO := $(TARGET)/release/drift-demo --plugin $(TARGET)/release/libdrift.so --rules rules/drift_rules.yaml \
	--capture demo/binary.scap --manifest demo/image.mtree.gz
demo: build
	@$(DEMO) $(DEMO_FLAGS)

# The picture of it in the README.
demo-picture: build
	$(DEMO) --color always | sed '$$d' | scripts/svg.py '$$ make demo' > docs/img/demo.svg

# The tests run unoptimised, where an overflow is caught; the engine they replay in loads the release build.
test: export RUSTDOCFLAGS := -D warnings
test:
	@mkdir -p $(TARGET) && rm -f $(TARGET)/skips.txt
	scripts/setup-test.sh
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) doc --workspace --no-deps --locked
	$(CARGO) build --release --locked --workspace
	@DIST_ARCHS=$$(uname -m) scripts/dist.sh || { [ "$$CI" != true ] || exit 1; \
		echo "SKIP: the published library: make dist failed, see above" | tee -a $(TARGET)/skips.txt; }
	@status=0; $(CARGO) test --workspace --locked || status=$$?; \
	if [ -s $(TARGET)/skips.txt ]; then \
		echo "$$(wc -l < $(TARGET)/skips.txt) tests could not run here:"; cat $(TARGET)/skips.txt; \
	else \
		echo "no test was skipped"; \
	fi; exit $$status

# The programs of a Kubernetes node, built and unpacked into the target folder; then what Falco (FALCO_BIN) says of pods
# there, as root. Runs by hand: docs/kubernetes.md has the result.
.PHONY: k8s test-kubernetes
k8s:
	testkit/kubernetes/provision.sh $(TARGET)/kubernetes

test-kubernetes: build
	@if [ ! -x $(TARGET)/kubernetes/bin/kubelet ] || [ -z "$$FALCO_BIN" ]; then \
		echo "SKIP: kubernetes: make k8s has not run, or FALCO_BIN is not set"; \
	else \
		testkit/kubernetes/cases.py $(TARGET)/kubernetes $(TARGET)/release/libdrift.so rules --update docs/kubernetes.md; \
	fi

# The engine loads the release build. BENCH_FLAGS=--quick shows that the benchmarks work and measures nothing.
bench: build
	$(CARGO) bench --locked --package drift --benches -- $(BENCH_FLAGS)

# What is published: the library for glibc 2.17, archives, checksums, bill of materials, OCI artifacts.
dist:
	scripts/dist.sh

# The documentation as a site, in target/book.
docs:
	scripts/docs.sh

# The init container's image, from what `make dist` built.
image:
	scripts/image.sh

clean:
	$(CARGO) clean

# What docs/security.md tells of, each with its long form there.
.PHONY: hostile faults load corpus fuzz sanitize audit

hostile:
	$(CARGO) test --locked --test hostile -- --nocapture

faults:
	$(CARGO) test --locked --test mounts --test lifecycle -- --nocapture

# The library is the release build; the test's own work is small.
load: build
	DRIFT_SO=$(TARGET)/release/libdrift.so DRIFT_LOAD_SECONDS=$${DRIFT_LOAD_SECONDS:-600} \
		$(CARGO) test --locked --test load -- --nocapture

# Ordinary images under real Falco (FALCO_BIN, or falco in PATH), which have to be quiet: docs/false-positives.md.
.PHONY: quiet
quiet: build
	scripts/quiet.py $(IMAGES)

FUZZ_SECONDS ?= 600
# Recall on acts that others wrote (tests/recall), in the Falco that FALCO_BIN names: a table of docs/corpus.md.
corpus: build
	UPDATE_DOCS=1 $(CARGO) test --test containers recall:: -- --nocapture

# With a nightly toolchain and cargo-fuzz. New inputs go to the target folder, from where `scripts/corpus.sh add` keeps
# them; those that fail go to fuzz/artifacts.
fuzz:
	for target in $(basename $(notdir $(wildcard fuzz/corpus/*.tar))); do \
		found=$(abspath $(TARGET))/fuzz-found/$$target; corpus=$(abspath $(TARGET))/fuzz-corpus/$$target; \
		mkdir -p $$found; scripts/corpus.sh unpack $$target $$corpus || exit 1; \
		$(CARGO) +nightly fuzz run $$target $$found $$corpus -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=20 -max_len=65536 || exit 1; \
	done

# With a nightly toolchain and its rust-src.
sanitize:
	RUSTFLAGS=-Zsanitizer=thread $(CARGO) +nightly test -Zbuild-std --target $$(uname -m)-unknown-linux-gnu --test stress
	RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly test -Zbuild-std --target $$(uname -m)-unknown-linux-gnu --lib

audit:
	$(CARGO) test --locked --test plain dependencies::
