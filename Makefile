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
ROLES := ingest worker frontend
TOPS := handlers rubato
ROOMS := $(FLOORS) $(ROLES) $(TOPS)

PKGS := libcurl openssl libzstd zlib libcjson libpcre2-8 libnghttp2 libmicrohttpd yaml-0.1 expat \
        liblz4
DEB_BUILD := build-essential pkg-config libcurl4-openssl-dev libssl-dev libzstd-dev libsnappy-dev \
        liblz4-dev zlib1g-dev libcjson-dev libpcre2-dev libnghttp2-dev libmicrohttpd-dev \
        libexpat1-dev libyaml-dev libxxhash-dev
DEB_TEST := libcmocka-dev zstd xz-utils curl nodejs python3 radosgw ceph-mon ceph-osd

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
LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lsnappy -lm

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

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(SUPPORT_OBJ) $(LIBS_all)
	@mkdir -p $(@D)
	@$(if $(V),,echo "LD $@")
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LIBS) -lcmocka -o $@

.SECONDARY:

tests-bin: $(TEST_BIN)

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

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin

clean:
	rm -rf build

FORCE:
.PHONY: all deps deps-test install clean tests-bin FORCE

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/tests/*/*.d $(B)/obj/tests/*/*/*.d)
