"""Labs for the benchmarks: real Slurm clusters of lab/, and what happens to their nodes and processes.

Kills and commits carry CLOCK_MONOTONIC, one clock for all nodes: they are namespaces of one kernel, and none of them is a
time namespace. A kill is stamped before its first system call, so that its own cost counts.
"""
import atexit
import fcntl
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


class BenchError(Exception):
    pass


def say(text):
    """Progress, on stderr: stdout holds what is to be pasted."""
    print(text, file=sys.stderr, flush=True)


def wait_for(seconds, condition, what, pause=0.02):
    """The first true answer of condition(); BenchError when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise BenchError(f'{what}: not within {seconds:g} s')
        time.sleep(pause)


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          **options)
    if done.returncode != 0:
        raise BenchError(f'{shlex.join(command)}: {(done.stderr or done.stdout).strip()[-800:]}')
    return done.stdout


def build():
    """Builds the tree as ./demo does. Returns where it is installed."""
    run(f'{TOP}/scripts/install-deps')
    say(run(f'{TOP}/scripts/build', f'{TOP}/.build/bench').strip())
    return f'{TOP}/.build/bench/inst'


def begin():
    """Root, a way to be interrupted that still takes the labs down, and a directory that goes at the end."""
    if os.geteuid() != 0:
        sys.exit('bench: needs root: the cluster lives in network namespaces')
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    work = tempfile.TemporaryDirectory(prefix='ckptless-bench-', ignore_cleanup_errors=True)
    atexit.register(work.cleanup)
    return work.name


class Lab:
    """A cluster of nodes n1 to nCOUNT, up from construction to down() or the program's end."""

    serial = 0

    def __init__(self, count, *options):
        Lab.serial += 1
        self.count = count
        self.name = f'bench-{os.getpid()}-{Lab.serial}'
        atexit.register(self.down)
        run(f'{TOP}/lab/up', str(count), '--name', self.name, *options)
        self.env = dict(os.environ)
        for line in run(f'{TOP}/lab/env', '--name', self.name).splitlines():
            key, value = shlex.split(line)[1].split('=', 1)
            self.env[key] = value
        self.directory = os.path.dirname(self.env['SLURM_CONF'])
        with open(f'{self.directory}/lab.env', encoding='ascii') as facts:
            self.number = dict(line.strip().split('=') for line in facts)['lab_number']

    def down(self):
        atexit.unregister(self.down)
        self.tool('down')

    def tool(self, name, *arguments):
        return run(f'{TOP}/lab/{name}', '--name', self.name, *arguments)

    def slurm(self, *command, **options):
        return run(*command, env=self.env, **options)

    def pids(self, node, *names):
        """The processes of a node that have one of these names, by the machine's pids."""
        network = os.stat(f'/run/netns/ckl{self.number}{node}').st_ino
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/comm', encoding='utf-8', errors='replace') as comm:
                    if comm.read().strip() in names and os.stat(f'/proc/{pid}/ns/net').st_ino == network:
                        found.append(int(pid))
            except OSError:
                pass  # it has ended
        return found

    def power_off(self, node):
        """As lab/kill-node does: the link first, so that no other node hears a connection close. Returns when."""
        with open(f'{self.directory}/run/{node}.init', encoding='ascii') as file:
            init = int(file.read())
        link = f'ckl{self.number}v{node[1:]}'.encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            began_ns = time.monotonic_ns()
            request = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack('16sh14x', link, 0))
            flags = struct.unpack('16sh14x', request)[1]
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack('16sh14x', link, flags & ~IFF_UP))
            os.kill(init, signal.SIGKILL)
        return began_ns

    def revive(self, node):
        self.tool('kill-node', node[1:])  # waits until nothing of it is left
        self.tool('revive-node', node[1:])

    def wait_idle(self):
        wait_for(90, lambda: self.slurm('sinfo', '-h', '-N', '-t', 'idle', '-o', '%N').count('\n') == self.count,
                 'all nodes idle', 0.1)


def kill_process(pids, what):
    """SIGKILL to the one process there is. Returns when."""
    if len(pids) != 1:
        raise BenchError(f'{what}: {len(pids)} processes')
    began_ns = time.monotonic_ns()
    os.kill(pids[0], signal.SIGKILL)
    return began_ns


def cpu_ns(pid):
    """CPU time of a process so far, threads that have ended included: its CPU clock, as clock_getcpuclockid(3) numbers it."""
    return time.clock_gettime_ns((~pid << 3) | 2)
