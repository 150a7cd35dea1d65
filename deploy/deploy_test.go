// Package deploy holds examples of running Tollgate; its tests keep them valid.
package deploy

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestPrometheusConfig(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not installed (apt-get install prometheus)")
		}
		t.Skip("promtool is not installed (apt-get install prometheus)")
	}
	out, err := exec.Command(promtool, "check", "config", "prometheus.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestComposeFile: the file is YAML, its images are pinned, and every volume a service mounts by name is declared.
func TestComposeFile(t *testing.T) {
	content, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	var compose struct {
		Services map[string]struct {
			Image   string
			Volumes []string
		}
		Volumes map[string]any
	}
	require.NoError(t, yaml.Unmarshal(content, &compose))
	require.Contains(t, compose.Services, "tollgate")
	used := map[string]bool{}
	for name, service := range compose.Services {
		if service.Image != "" {
			require.Regexp(t, `:v?\d`, service.Image, name)
		}
		for _, volume := range service.Volumes {
			if m := regexp.MustCompile(`^(\w+):`).FindStringSubmatch(volume); m != nil {
				require.Contains(t, compose.Volumes, m[1])
				used[m[1]] = true
			}
		}
	}
	require.Len(t, compose.Volumes, len(used), "a declared volume is not used")
}

// TestNoSecrets: nothing under deploy gives a secret a value that somebody could leave as it is.
func TestNoSecrets(t *testing.T) {
	for _, file := range []string{"compose.yaml", "Dockerfile", "tollgate.service"} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotRegexp(t, `(?m)^\s*[A-Z_]*(PASSWORD|SECRET|API_KEY)[:=][ \t]*[^$ \t\n]`, string(content), file)
	}
}

// TestKillDelay: who stops the gateway must wait longer than the gateway waits for its streams.
func TestKillDelay(t *testing.T) {
	minutes := func(file, pattern string) int {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		found := regexp.MustCompile(pattern).FindSubmatch(content)
		require.NotNil(t, found, "%s does not match %s", file, pattern)
		n, err := strconv.Atoi(string(found[1]))
		require.NoError(t, err)
		return n
	}
	grace := minutes("../Caddyfile", `(?m)^\s*grace_period (\d+)m$`)
	require.Greater(t, minutes("compose.yaml", `(?m)^\s*stop_grace_period: (\d+)m$`), grace)
	require.Greater(t, minutes("tollgate.service", `(?m)^TimeoutStopSec=(\d+)min$`), grace)
}
