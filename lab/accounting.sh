# slurmdbd with a MariaDB of the lab's own, for lab/up --accounting. Sourced, never run. Both live in the network namespace
# of "node" 0: there slurmdbd's port is nobody else's, and lab/down ends them with it. MariaDB has a socket only.

# Making the tables takes seconds, copying them a tenth: they are kept. Their cluster must have a name then: "lab".
db_kept=$lab_here/../.build/lab-database

accounting_conf() {
    node_names 0
    add_conf ClusterName=lab
    add_conf AccountingStorageType=accounting_storage/slurmdbd
    add_conf "AccountingStorageHost=$node_address"
    add_conf "AccountingStoragePass=$lab_dir/munge/socket"
    (umask 077 && cat >"$lab_dir/slurmdbd.conf") <<CONF
DbdHost=$(hostname -s)
DbdAddr=$node_address
AuthType=auth/munge
AuthInfo=socket=$lab_dir/munge/socket
SlurmUser=root
LogFile=$lab_dir/log/slurmdbd.log
PidFile=$lab_dir/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
CONF
}

# in_node_0 COMMAND...: becomes it.
in_node_0() {
    node_names 0
    export SLURM_CONF=$lab_dir/slurm.conf MYSQL_UNIX_PORT=$lab_dir/database/socket
    become setsid nsenter --net="/run/netns/$node_ns" "$@"
}

# What a power failure would do to the database is of no interest here; how long a commit takes is.
database_start() {
    in_node_0 mariadbd --no-defaults --user=root --datadir="$lab_dir/database/data" --socket="$lab_dir/database/socket" \
        --pid-file="$lab_dir/run/mariadbd.pid" --log-error="$lab_dir/log/mariadbd.log" --skip-networking --skip-grant-tables \
        --innodb-data-file-path=ibdata1:4M:autoextend --innodb-log-file-size=4M --innodb-buffer-pool-size=32M \
        --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-use-native-aio=0 --innodb-lock-wait-timeout=900 \
        >"$lab_dir/log/mariadbd.start" 2>&1 &
    wait_until 20 test -S "$lab_dir/database/socket" || die "mariadbd did not start: $(tail -n 3 "$lab_dir/log/mariadbd.log")"
}

slurmdbd_answers() {
    # shellcheck disable=SC2016
    bash -c '</dev/tcp/$0/6819' "$node_address" 2>/dev/null
}

slurmdbd_start() {
    (in_node_0 slurmdbd) >"$lab_dir/log/slurmdbd.start" 2>&1
    wait_until 20 slurmdbd_answers || die "slurmdbd did not start: $(tail -n 3 "$lab_dir/log/slurmdbd.log")"
}

# daemon_stop NAME: so that what it has written is whole.
daemon_stop() {
    local pid
    read -r pid <"$lab_dir/run/$1.pid"
    kill -TERM "$pid"
    wait_until 20 process_gone "$pid" || die "$1 ($pid) does not end"
}

# The database of a cluster without a job. Several labs may make it at once: the first one's stays.
database_make() {
    mariadb-install-db --no-defaults --user=root --datadir="$lab_dir/database/data" --skip-test-db --auth-root-authentication-method=normal \
        --innodb-data-file-path=ibdata1:4M:autoextend --innodb-log-file-size=4M >"$lab_dir/log/mariadb-install-db" 2>&1 ||
        die "mariadb-install-db failed: $(tail -n 3 "$lab_dir/log/mariadb-install-db")"
    database_start
    slurmdbd_start
    SLURM_CONF=$lab_dir/slurm.conf sacctmgr -i add cluster lab >/dev/null
    daemon_stop slurmdbd
    daemon_stop mariadbd
    mkdir -p "$db_kept"
    cp -a --sparse=always "$lab_dir/database/data" "$db_kept/new-$$"
    mv -T "$db_kept/new-$$" "$db_kept/$1" 2>/dev/null || rm -rf "$db_kept/new-$$"
}

start_accounting() {
    local version
    version=$({ mariadbd --version && cat "$(command -v slurmdbd)" "$lab_here/accounting.sh"; } | md5sum | cut -c 1-12)
    node_names 0
    link_node
    mkdir -m 700 "$lab_dir/database"
    if ! cp -a --sparse=always "$db_kept/$version" "$lab_dir/database/data" 2>/dev/null; then
        rm -rf "$lab_dir/database/data"
        database_make "$version"
    fi
    database_start
    slurmdbd_start
}
