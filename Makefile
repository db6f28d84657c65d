# One makefile for the whole tree. `make help` lists the targets.
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

PROFILE ?= release
SANITIZE ?=
PREFIX ?= /usr/local
CC ?= cc
ifeq ($(origin CC),default)
CC := gcc
endif

comma := ,
B := build/$(PROFILE)$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))

# Rooms in order of dependency: a room may only use those before it (docs/architecture.md).
FLOORS := base net objstore block otlp traceql catalog query app
ROLES := ingest worker frontend compact
TOPS := handlers rubato
ROOMS := $(FLOORS) $(ROLES) $(TOPS)

PKGS := libcurl openssl libzstd zlib libcjson libpcre2-8 libnghttp2 yaml-0.1 expat \
        liblz4
DEB_BUILD := build-essential pkg-config libcurl4-openssl-dev libssl-dev libzstd-dev libsnappy-dev \
        liblz4-dev zlib1g-dev libcjson-dev libpcre2-dev libnghttp2-dev libhttp-parser-dev \
        libexpat1-dev libyaml-dev libxxhash-dev libs3-dev
DEB_TEST := libcmocka-dev zstd xz-utils curl python3 radosgw ceph-mon ceph-osd prometheus \
        docker-compose \
        $(if $(shell command -v node),,nodejs) $(if $(shell command -v npm),,npm)

VERSION := 2.7.0-rubato.1
REVISION := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings \
        -Wformat=2 -Wundef -fno-common
OPT_release := -O2 -g
OPT_debug := -O0 -g3 -DRUBATO_DEBUG
OPT_cov := -O0 -g --coverage
CPPFLAGS := -I. -D_GNU_SOURCE
CFLAGS := -std=c17 $(WARN) $(OPT_$(PROFILE)) -pthread -fno-omit-frame-pointer
LDFLAGS := -pthread
ifneq ($(SANITIZE),)
CFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SANITIZE)
endif
ifneq ($(WERROR),)
CFLAGS += -Werror
endif
LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lsnappy -lhttp_parser -lm

Q := $(if $(V),,@)

src = $(wildcard $(1)/*.c)
lib = $(B)/lib/$(1).a
objs = $(patsubst %.c,$(B)/obj/%.o,$(filter-out %/main.c,$(call src,$(1))))
libs_of = $(foreach r,$(1),$(call lib,$(r)))

PROGRAMS := $(B)/bin/rubato $(B)/bin/rubato-ingest $(B)/bin/rubato-frontend $(B)/bin/rubato-worker

all: $(PROGRAMS)

# ---- objects and archives ----

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@$(if $(V),,echo "CC $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(firstword $(subst /, ,$*))) -MMD -MP -c $< -o $@

# Rebuild when the flags change.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LIBS)' | cmp -s - $@ || \
	    echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LIBS)' > $@

CFLAGS_app = -DRUBATO_VERSION='"$(VERSION)"' -DRUBATO_REVISION='"$(REVISION)"'

define room_rule
$(call lib,$(1)): $(call objs,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# A program links its main.o with the rooms it may use, most dependent first, so that the linker
# holds the table of includes as well.
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
LIBS_all := $(call libs_of,$(call reverse,$(FLOORS) $(ROLES) $(TOPS)))
LIBS_one = $(call libs_of,$(1) $(call reverse,$(FLOORS)))

define link
	@mkdir -p $(@D)
	@$(if $(V),,echo "LD $@")
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(LIBS) -o $@
endef

$(B)/bin/rubato: $(B)/obj/rubato/main.o $(LIBS_all)
	$(link)
$(B)/bin/rubato-ingest: $(B)/obj/ingest/main.o $(call LIBS_one,ingest)
	$(link)
$(B)/bin/rubato-frontend: $(B)/obj/frontend/main.o $(call LIBS_one,frontend worker)
	$(link)
$(B)/bin/rubato-worker: $(B)/obj/worker/main.o $(call LIBS_one,worker)
	$(link)

# ---- tests ----

TEST_SRC := $(wildcard tests/unit/*/test_*.c)
TEST_BIN := $(TEST_SRC:%.c=$(B)/%)
SUPPORT_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/support/*.c))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
REPLAY_BIN := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(B)/tests/replay/%)

link_test = $(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
    -Wl,--end-group $(LIBS) -lcmocka -o $@

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(SUPPORT_OBJ) $(LIBS_all)
	@mkdir -p $(@D)
	@$(if $(V),,echo "LD $@")
	$(link_test)

# A fuzz target with a driver that replays the corpus, by any compiler.
$(B)/tests/replay/%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o $(SUPPORT_OBJ) $(LIBS_all)
	@mkdir -p $(@D)
	@$(if $(V),,echo "LD $@")
	$(link_test)

.SECONDARY:

tests-bin: $(TEST_BIN) $(REPLAY_BIN)

# Everything that `make test` runs, without installing anything.
check: all tests-bin
	@B=$(B) tests/run

check-unit: tests-bin
	@tests/run-unit $(TEST_BIN)

check-asan:
	@$(MAKE) --no-print-directory SANITIZE=address,undefined check-unit

check-tsan:
	@$(MAKE) --no-print-directory SANITIZE=thread check-unit

check-valgrind: tests-bin
	@for t in $(TEST_BIN); do valgrind -q --error-exitcode=9 --leak-check=full $$t || exit 1; done

test: deps-test
	@$(MAKE) --no-print-directory all tests-bin
	@$(MAKE) --no-print-directory SANITIZE=address,undefined tests-bin
	@B=$(B) B_ASAN=build/$(PROFILE)-address-undefined tests/run

test-nightly: deps-test
	@$(MAKE) --no-print-directory all tests-bin
	@$(MAKE) --no-print-directory SANITIZE=address,undefined tests-bin
	@B=$(B) B_ASAN=build/$(PROFILE)-address-undefined TIER=nightly tests/run

# libFuzzer, a minute each: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 60
fuzz:
	@$(MAKE) --no-print-directory CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzz-bin
	@for t in $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%); do \
	    mkdir -p build/corpus/$$t; \
	    build/release-fuzzer-no-link-address-undefined/tests/fuzz/$$t -max_total_time=$(FUZZ_SECONDS) \
	        -rss_limit_mb=2048 build/corpus/$$t tests/fuzz/corpus/$$t || exit 1; done

fuzz-bin: $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(B)/tests/fuzz/%)

$(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/fuzz_%.o $(SUPPORT_OBJ) $(LIBS_all)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
	    -Wl,--end-group $(LIBS) -lcmocka -o $@

bench: all
	@for f in tests/data/conformance/*.frames.zst; do echo "== $$f"; \
	    $(B)/bin/rubato bench ingest $$f; $(B)/bin/rubato bench block $$f; done

# ---- hygiene ----

check-includes:
	@tests/check-includes

# Each header compiles alone.
check-headers:
	@for h in $(foreach r,$(ROOMS),$(wildcard $(r)/*.h)); do \
	    echo "#include \"$$h\"" | $(CC) $(CPPFLAGS) $(CFLAGS) -Werror -fsyntax-only -x c - || exit 1; done

SOURCES := $(foreach r,$(ROOMS) tests/support tests/fuzz $(wildcard tests/unit/*),$(wildcard $(r)/*.[ch]))

lint: check-includes check-headers
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -I. \
	    --enable=warning,portability --suppress=missingIncludeSystem \
	    --suppress=unknownMacro --suppress=ctuPointerArith --suppress=ctuuninitvar \
	    --suppress=invalidPointerCast --suppress=ctunullpointer $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))

format:
	@clang-format -i $(SOURCES)

help:
	@echo 'make            build (PROFILE=release|debug|cov, SANITIZE=address,undefined, V=1)'
	@echo 'make run        install what is missing, build, serve everything from ./rubato-data'
	@echo 'make test       install what the tests need, build, run them all'
	@echo 'make test-nightly   the long tier as well'
	@echo 'make check      the tests without installing anything; check-unit, check-asan,'
	@echo '                check-tsan, check-valgrind: the unit tests'
	@echo 'make bench      figures on this machine'
	@echo 'make fuzz       libFuzzer over every door (clang)'
	@echo 'make lint format check-includes check-headers'
	@echo 'make deps deps-test     install packages'
	@echo 'make install PREFIX=/usr/local, make clean'

run: deps
	@$(MAKE) --no-print-directory all
	@exec $(B)/bin/rubato

# ---- dependencies ----

missing = $(shell for p in $(1); do dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

define apt_install
	@set -e; want="$(strip $(call missing,$(1)))"; [ -z "$$want" ] || { \
	    $(SUDO) apt-get update -q; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$want; }
endef

deps:
	$(call apt_install,$(DEB_BUILD))
deps-test: deps
	$(call apt_install,$(DEB_TEST))
	@cd tests/e2e && { [ -d node_modules ] && [ node_modules/.package-lock.json -nt package-lock.json ]; } || \
	    npm ci --no-audit --no-fund --loglevel=error

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin

clean:
	rm -rf build

FORCE:
.PHONY: all deps deps-test install clean tests-bin FORCE check check-unit check-asan check-tsan \
        check-valgrind test test-nightly fuzz fuzz-bin bench check-includes check-headers lint format \
        help run

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/tests/*/*.d $(B)/obj/tests/*/*/*.d)
