#!/bin/sh
# Installs what the tests need beside Go: Redis, PostgreSQL, Prometheus, Node.js, Chromium and a C compiler for the race
# detector.
# On Debian and Ubuntu, as root or with passwordless sudo, it installs them; elsewhere it says what is missing and ends well,
# and the tests that need the missing part skip. Does nothing, quickly, when all is there.
set -u
cd "$(dirname "$0")/.."
node_min=20
PATH="$PWD/.cache/node/bin:$PATH" # what an earlier run fetched

have() { command -v "$1" >/dev/null 2>&1; }
have_postgres() { have postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
have_chromium() { have chromium || have chromium-browser || have google-chrome; }
node_major() { node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/'; }
node_new_enough() { major=$(node_major); [ "${major:-0}" -ge "$node_min" ]; }

# missing prints the Debian packages of what is not there, one a line.
missing() {
	have redis-server || echo redis-server
	have_postgres || echo postgresql
	{ have prometheus && have promtool; } || echo prometheus
	have node || echo nodejs
	have npm || echo npm
	have_chromium || echo chromium
	have "${CC:-cc}" || printf 'gcc\nlibc6-dev\n'
}

# apt_install installs without starting the packages' services: the tests run their own, on free ports.
apt_install() {
	if [ "$(id -u)" = 0 ]; then as_root=; elif have sudo && sudo -n true 2>/dev/null; then as_root='sudo -n'; else return 1; fi
	have apt-get || return 1
	policy=/usr/sbin/policy-rc.d
	made_policy=
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null && $as_root chmod 755 $policy && made_policy=1
	fi
	$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c \
		'apt-get update -q && apt-get install -q -y --no-install-recommends "$@"' sh "$@"
	status=$?
	[ -z "$made_policy" ] || $as_root rm -f $policy
	return $status
}

packages=$(missing)
if [ -n "$packages" ]; then
	# The list is split into words on purpose.
	# shellcheck disable=SC2086
	echo "testdeps: installing" $packages
	# shellcheck disable=SC2086
	apt_install $packages || echo "testdeps: cannot install here (needs Debian or Ubuntu, and root or passwordless sudo)"
fi

# Debian 12 ships Node.js 18. The npm package `node` brings a newer one, which the Makefile finds first in PATH.
if have npm && ! node_new_enough; then
	echo "testdeps: Node.js $(node --version 2>/dev/null) is too old, fetching $node_min through npm"
	mkdir -p .cache/node
	npm install --loglevel=error --no-audit --no-fund --no-save --prefix .cache/node "node@$node_min" &&
		mkdir -p .cache/node/bin && ln -sf ../node_modules/node/bin/node .cache/node/bin/node
fi

if have npm && node_new_enough && [ -f e2e/js/package-lock.json ] &&
	[ ! e2e/js/node_modules/.package-lock.json -nt e2e/js/package-lock.json ]; then
	echo "testdeps: npm ci in e2e/js"
	(cd e2e/js && npm ci --loglevel=error --no-audit --no-fund) || echo "testdeps: npm ci failed; the SDK tests will skip"
fi

still=$(missing)
node_new_enough || still="$still
nodejs (version $node_min or later; found: $(node --version 2>/dev/null || echo none))"
still=$(echo "$still" | sed '/^$/d')
[ -n "$still" ] || exit 0
echo "testdeps: still missing, so the tests that need them will skip:"
echo "$still" | sed 's/^/  /'
cat <<'END'
How to get them:
  Debian, Ubuntu  apt-get install redis-server postgresql prometheus nodejs npm chromium gcc libc6-dev
  Fedora          dnf install redis postgresql-server golang-github-prometheus nodejs npm chromium gcc
  Alpine          apk add redis postgresql prometheus nodejs npm chromium gcc musl-dev
  macOS           brew install redis postgresql prometheus node && brew install --cask chromium   (and xcode-select --install)
  Node.js         https://nodejs.org, where the distribution's is older than 20
The tests start their own servers; none needs to run.
END
[ "${CI:-}" != true ]
