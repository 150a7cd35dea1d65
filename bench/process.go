//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pinSelf binds this process, and all it starts from now on, to one core.
func pinSelf(core int) error {
	runtime.GOMAXPROCS(1)
	var set unix.CPUSet
	set.Set(core)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("bind to core %d: %w", core, err)
		}
	}
	return nil
}

// startOn starts a command on another core than ours. A child has the affinity of the thread that forks it.
func startOn(core int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var own, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return err
	}
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind to core %d: %w", core, err)
	}
	defer unix.SchedSetaffinity(0, &own)
	return cmd.Start()
}

// A gateway is one process under test.
type gateway struct {
	name  string
	addr  string // of its HTTP listener
	admin string // of Caddy's admin endpoint
	cmd   *exec.Cmd
	log   string // file
}

// startGateway runs the binary with a Caddyfile and waits until it listens.
func startGateway(ctx context.Context, name string, core int, binary, caddyfile, dir string, env []string) (*gateway, error) {
	g := &gateway{name: name, addr: freeAddr(), admin: freeAddr(), log: filepath.Join(dir, name+".log")}
	logFile, err := os.Create(g.log)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	g.cmd = exec.CommandContext(ctx, binary, "run", "--config", caddyfile, "--adapter", "caddyfile")
	g.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir,
		"LISTEN=" + g.addr, "ADMIN_LISTEN=" + g.admin,
	}, env...)
	g.cmd.Stdout, g.cmd.Stderr = logFile, logFile
	if err := startOn(core, g.cmd); err != nil {
		return nil, err
	}
	for range 200 {
		if conn, err := net.Dial("tcp", g.addr); err == nil {
			return g, conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.stop()
	return nil, fmt.Errorf("%s does not listen; its log ends with:\n%s", name, g.logTail())
}

// stop ends the process and waits for it.
func (g *gateway) stop() {
	g.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { g.cmd.Process.Kill() })
	defer timer.Stop()
	g.cmd.Wait()
}

func (g *gateway) logTail() string {
	content, _ := os.ReadFile(g.log)
	return string(content[max(0, len(content)-2000):])
}

// cpu is the CPU time all threads of the process have used, ended ones included, in the kernel's nanoseconds.
// The clock's number is that of clock_getcpuclockid(3).
func (g *gateway) cpu() (time.Duration, error) {
	const cpuclockSched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^g.cmd.Process.Pid<<3|cpuclockSched), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU clock of %s: %w", g.name, err)
	}
	return time.Duration(ts.Nano()), nil
}

// memory is what the kernel and the Go runtime say a process uses, in bytes.
type memory struct {
	RSS  int64 `json:"rss"`
	Peak int64 `json:"peak"` // highest RSS since the process started
	Heap int64 `json:"heap"` // live and not yet swept objects
}

func (g *gateway) memory() (m memory, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			m.RSS = kib << 10
		case "VmHWM":
			m.Peak = kib << 10
		}
	}
	var vars struct {
		Memstats struct{ HeapAlloc int64 } `json:"memstats"`
	}
	content, err := g.fetch("/debug/vars")
	if err == nil {
		err = json.Unmarshal(content, &vars)
	}
	m.Heap = vars.Memstats.HeapAlloc
	return m, err
}

// profiledPackages are the ones a profile's second table charges: time spent in the runtime, in system calls or in other
// libraries goes to the nearest caller among these.
const profiledPackages = `financecommander/tollgate|caddyserver/caddy|redis/go-redis|jackc/pgx|gorm\.io|net/http\.|prometheus`

// profile records where the CPU time goes for the given time and returns two tables of pprof: the 25 functions that used most
// themselves, and the 25 that caused most, among profiledPackages.
func (g *gateway) profile(d time.Duration, binary, dir string) (string, error) {
	content, err := g.fetch(fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(d.Seconds()))))
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, g.name+".pprof")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return "", err
	}
	var tables strings.Builder
	for _, option := range []string{"-flat", "-show=" + profiledPackages} {
		out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=25", option, binary, path).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("pprof: %w: %s", err, out)
		}
		_, rows, _ := strings.Cut(string(out), "Duration: ")
		tables.WriteString(rows + "\n")
	}
	return tables.String(), nil
}

// fetch reads a page of Caddy's admin endpoint.
func (g *gateway) fetch(path string) ([]byte, error) {
	resp, err := http.Get("http://" + g.admin + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: status %d", g.name, path, resp.StatusCode)
	}
	return content, err
}

// freeAddr is a loopback address nobody listens on.
func freeAddr() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // no loopback interface: nothing can be measured
	}
	defer listener.Close()
	return listener.Addr().String()
}
