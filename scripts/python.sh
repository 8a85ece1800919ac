# Sourced by the other scripts: finds a Python that is new enough, and names it in $python.
# Needs nothing installed; the environment itself is made by marketplace.supervisor.bootstrap.
find_python() {
    python=
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
    found=$(python3 -V 2>/dev/null) || true
    echo "Python 3.11 or newer is needed, but ${found:-none} was found: install a newer Python (python.org, or your system's packages)." >&2
    exit 1
}
