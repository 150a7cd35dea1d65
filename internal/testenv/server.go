package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// startTimeout bounds how long a server may take to answer; initialised data
// directories make both kinds start in well under a second on an idle machine.
const startTimeout = 30 * time.Second

// pollInterval is how often a starting server is asked whether it answers yet.
const pollInterval = 10 * time.Millisecond

// A Server is one server process with a directory of its own. Methods are not
// safe for concurrent use.
type Server struct {
	Addr string // host:port on loopback; the same over Stop and Start

	dir     string
	stop    syscall.Signal // ends the process quickly; nothing needs to be kept
	command func() *exec.Cmd
	ready   func(context.Context) error

	process *exec.Cmd // nil while stopped
	janitor *janitor
}

// Start starts the process and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	if s.process != nil {
		return errors.New("already running")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	process := s.command()
	process.Dir = s.dir
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		return err
	}
	s.process = process
	if s.janitor, err = startJanitor(s.dir, process.Process.Pid, s.stop); err != nil {
		return errors.Join(err, s.Stop())
	}
	if err := s.waitReady(ctx); err != nil {
		tail, _ := os.ReadFile(s.logPath())
		return errors.Join(fmt.Errorf("%s: %w; its log: %s", process.Path, err, tail), s.Stop())
	}
	return nil
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "server.log") }

func (s *Server) waitReady(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		if exited(s.process.Process.Pid) {
			return errors.New("ended at once")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("does not answer: %w", err)
		}
	}
}

// exited peeks at a child without reaping it, which is Stop's business.
func exited(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return errors.Is(err, os.ErrNotExist) && runsProcfs()
	}
	// pid (name) state …; a dead child stays a zombie until it is waited for.
	for i := len(stat) - 1; i > 0; i-- {
		if stat[i] == ')' {
			return i+2 < len(stat) && stat[i+2] == 'Z'
		}
	}
	return false
}

func runsProcfs() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// Stop ends the process at once, as a crash would. Start brings it back on the
// same address, with what it had written to its directory.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	if s.janitor != nil {
		s.janitor.dismiss()
		s.janitor = nil
	}
	err := s.process.Process.Signal(s.stop)
	_ = s.process.Process.Signal(syscall.SIGCONT) // a paused process must wake up to end
	_ = s.process.Wait()                          // ended by a signal: always an error
	s.process = nil
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Pause freezes the process (SIGSTOP): connections are accepted by the kernel
// and then nothing answers, as when a machine hangs.
func (s *Server) Pause() error { return s.process.Process.Signal(syscall.SIGSTOP) }

// Resume wakes the process after Pause.
func (s *Server) Resume() error { return s.process.Process.Signal(syscall.SIGCONT) }

// Close stops the process and removes its directory.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// A janitor is a shell that ends a server and removes its directory when the
// process that started it is gone: also after os.Exit, a panic or kill -9, where
// no code of ours runs any more. Its standard input is a pipe that nobody writes
// to; the kernel closes it with our process.
type janitor struct {
	shell *exec.Cmd
	pipe  *os.File
}

const janitorScript = `PATH=/usr/bin:/bin
read -r _
kill "-$2" "$1"; kill -CONT "$1"
n=0; while kill -0 "$1" && [ $n -lt 20 ]; do sleep 0.05; n=$((n+1)); done
kill -KILL "$1"
rm -rf -- "$0"`

func startJanitor(dir string, pid int, stop syscall.Signal) (*janitor, error) {
	shell := exec.Command("/bin/sh", "-c", janitorScript, dir, strconv.Itoa(pid), strconv.Itoa(int(stop)))
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the tests, not for it
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	shell.Stdin = read
	if err := shell.Start(); err != nil {
		write.Close()
		return nil, err
	}
	return &janitor{shell: shell, pipe: write}, nil
}

// dismiss ends the janitor before it does anything.
func (j *janitor) dismiss() {
	_ = j.shell.Process.Kill()
	_ = j.shell.Wait()
	j.pipe.Close()
}

// freeAddr returns a loopback address that nobody listens on at this moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// portOf returns the port of an address made by freeAddr.
func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
