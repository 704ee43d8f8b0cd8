package docker

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/errdefs"
)

// The network that all builds are on, and its bridge.
const (
	networkName = "buildsmith"
	bridgeName  = "buildsmith0"
)

const optionICC = "com.docker.network.bridge.enable_icc"

// checkInterval is how often the network is looked at again: somebody may flush the rules.
const checkInterval = time.Minute

// network makes the network and its rules, unless they were there a moment ago.
func (d *Docker) network(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.checked) < checkInterval {
		return nil
	}
	found, err := d.api.NetworkInspect(ctx, networkName, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		_, err = d.api.NetworkCreate(ctx, networkName, network.CreateOptions{
			Driver: "bridge",
			Options: map[string]string{
				optionICC:                        "false",
				"com.docker.network.bridge.name": bridgeName,
			},
			Labels: map[string]string{"buildsmith.network": "1"},
		})
		if errdefs.IsConflict(err) { // another server made it just now
			err = nil
		}
		found.Options = map[string]string{optionICC: "false"}
	}
	if err != nil {
		return fmt.Errorf("the network %s: %w", networkName, err)
	}
	if found.Options[optionICC] != "false" {
		return fmt.Errorf("the network %s lets containers reach each other: it was not made by buildsmith; remove it with docker network rm %s", networkName, networkName)
	}
	before := d.unguard
	d.unguard = d.guard(ctx)
	if d.unguard != nil && before == nil {
		d.Log.Warn("the build network is not guarded: builds can reach this host and the metadata addresses", "err", d.unguard)
	}
	d.checked = time.Now()
	return nil
}

// Guarded fails if the rules that keep builds from the host could not be set; builds of strangers then get no network.
func (d *Docker) Guarded() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unguard
}

// metadata are the addresses at which clouds hand out credentials.
var metadata = []string{
	"169.254.0.0/16",     // AWS, Google, Azure and most others, link-local as a whole
	"100.100.100.200/32", // Alibaba
	"168.63.129.16/32",   // Azure
	"192.0.0.192/32",     // Oracle
}

// guard sets the rules of the bridge: no packet from a build is for the host itself, and none for a metadata address.
// Replies to the resolver excepted, if the host is its own.
func (d *Docker) guard(ctx context.Context) error {
	var rules [][]string
	for _, server := range ownResolvers() {
		for _, protocol := range []string{"udp", "tcp"} {
			rules = append(rules, []string{"INPUT", "-i", bridgeName, "-d", server, "-p", protocol, "--dport", "53", "-j", "ACCEPT"})
		}
	}
	rules = append(rules, []string{"INPUT", "-i", bridgeName, "-j", "DROP"})
	for _, address := range metadata {
		rules = append(rules, []string{"DOCKER-USER", "-i", bridgeName, "-d", address, "-j", "DROP"})
	}
	var listing sync.WaitGroup
	var input, user, input6 string
	listing.Go(func() { input = listRules(ctx, "iptables", "INPUT") })
	listing.Go(func() { user = listRules(ctx, "iptables", "DOCKER-USER") })
	listing.Go(func() { input6 = listRules(ctx, "ip6tables", "INPUT") })
	listing.Wait()
	// Each goes to the top, so that the last one stands first.
	for i := len(rules) - 1; i >= 0; i-- {
		if stands(input+user, rules[i]) {
			continue
		}
		if err := ensureRule(ctx, "iptables", rules[i]); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath("ip6tables"); err == nil {
		// The bridge has no IPv6 beyond its own link; a host without ip6tables has no rules to set.
		rule := []string{"INPUT", "-i", bridgeName, "-j", "DROP"}
		if stands(input6, rule) {
			return nil
		}
		if err := ensureRule(ctx, "ip6tables", rule); err != nil {
			d.Log.Debug("setting an IPv6 rule", "err", err)
		}
	}
	return nil
}

// listRules lists the rules of a chain, one a line; empty if that cannot be done.
func listRules(ctx context.Context, program, chain string) string {
	out, err := output(ctx, program, []string{"-w", "-S", chain})
	if err != nil {
		return ""
	}
	return string(out)
}

// stands reports whether a rule is in a list, in the form in which iptables lists those that say no more than from where to
// where. Of others, and of those that a release lists otherwise, iptables has to be asked.
func stands(list string, rule []string) bool {
	chain, rest := rule[0], strings.Join(rule[1:], " ")
	if in, to, ok := strings.Cut(rest, " -d "); ok { // the destination is listed first
		to, action, _ := strings.Cut(to, " ")
		rest = "-d " + to + " " + in + " " + action
	}
	return slices.Contains(strings.Split(list, "\n"), "-A "+chain+" "+rest)
}

func ensureRule(ctx context.Context, program string, rule []string) error {
	if run(ctx, program, append([]string{"-w", "-C"}, rule...)) == nil {
		return nil
	}
	return run(ctx, program, append([]string{"-w", "-I"}, rule...))
}

func run(ctx context.Context, program string, args []string) error {
	_, err := output(ctx, program, args)
	return err
}

func output(ctx context.Context, program string, args []string) ([]byte, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
			if _, missing := os.Stat(dir + program); missing == nil {
				path, err = dir+program, nil
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return out, nil
}

// ownResolvers are the name servers of this machine that are the machine itself, at an address that containers use.
func ownResolvers() []string {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	defer f.Close()
	own := map[netip.Addr]bool{}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own[prefix.Addr()] = true
		}
	}
	var servers []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil && addr.Is4() && !addr.IsLoopback() && own[addr] {
			servers = append(servers, addr.String())
		}
	}
	return servers
}
