#!/bin/sh
# Installs Debian packages without letting any of them start a service of the system's.
# Run as root: sh deploy/stack/install-packages.sh PACKAGE...
#
# Ohmwatch runs its own Postgres, Redis and Mosquitto under .run/. Debian's packages would start
# theirs at once and at every boot; so services are held back while apt works, Postgres makes no
# cluster, and a service that came with a package of this run is not enabled for the next boot.
# A service that was there before is left exactly as it is.
set -eu
export DEBIAN_FRONTEND=noninteractive

policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/ohmwatch.conf
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

restore() {
    rm -f "$policy" "$cluster"
    if [ -e "$policy.before-ohmwatch" ]; then mv "$policy.before-ohmwatch" "$policy"; fi
}

news=""
for package in postgresql-15:postgresql redis-server:redis-server mosquitto:mosquitto; do
    installed "${package%%:*}" || news="$news ${package##*:}"
done

trap restore EXIT
trap 'exit 130' INT TERM
if [ -e "$policy" ] && [ ! -e "$policy.before-ohmwatch" ]; then mv "$policy" "$policy.before-ohmwatch"; fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"
mkdir -p "${cluster%/*}"
echo "create_main_cluster = false" >"$cluster"

apt-get update -q
apt-get install -q -y --no-install-recommends "$@"

for service in $news; do
    if [ -e "/etc/init.d/$service" ]; then update-rc.d "$service" disable || true; fi
done
