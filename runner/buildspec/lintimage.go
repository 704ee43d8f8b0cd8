package buildspec

import (
	"slices"
	"strings"
)

// images tells of commands that run or pull an image without a version. What the build makes itself is not meant: an image
// that a command names, or any if a command makes some under names that it does not say.
func (l *linter) images(all []*run) {
	made, unknown := map[string]bool{}, false
	each := func(fn func(r *run, c *command, verb string, args []word)) {
		for _, r := range all {
			if r.script == nil {
				continue
			}
			r.every(func(c *command, _ spot) {
				name, args := c.name()
				if name != "docker" && name != "podman" {
					return
				}
				for i, a := range args {
					switch a.text {
					case "run", "pull", "build", "tag", "load", "import", "commit", "compose", "bake":
						fn(r, c, a.text, args[i+1:])
						return
					}
				}
			})
		}
	}
	each(func(_ *run, _ *command, verb string, args []word) {
		switch verb {
		case "build":
			for i, a := range args {
				name := ""
				switch {
				case (a.text == "-t" || a.text == "--tag") && i+1 < len(args):
					name = args[i+1].text
				case strings.HasPrefix(a.text, "--tag="):
					name = strings.TrimPrefix(a.text, "--tag=")
				case strings.HasPrefix(a.text, "-t") && !strings.HasPrefix(a.text, "--"):
					name = a.text[2:]
				}
				made[strings.TrimSuffix(name, ":latest")] = true
			}
		case "tag":
			if len(args) > 0 {
				made[strings.TrimSuffix(args[len(args)-1].text, ":latest")] = true
			}
		case "load", "import", "commit", "compose", "bake":
			unknown = true
		}
	})
	each(func(r *run, c *command, verb string, args []word) {
		if verb != "run" && verb != "pull" || has(args, "--help", "--all-tags", "-a") && verb == "pull" {
			return
		}
		w := imageOf(args)
		if w == nil || len(w.variables) > 0 || len(w.subs) > 0 || verb == "run" && (unknown || made[strings.TrimSuffix(w.text, ":latest")]) {
			return
		}
		if message := unpinned(w.text); message != "" {
			r.tell(c.line, codeUnpinned, "%s", message)
		}
	})
}

// alone are the options of docker run and docker pull that have no value.
var alone = []string{"--detach", "--disable-content-trust", "--init", "--interactive", "--no-healthcheck", "--oom-kill-disable", "--privileged", "--publish-all",
	"--quiet", "--read-only", "--rm", "--sig-proxy", "--tty", "--use-api-socket", "--replace", "--no-hosts", "--tls-verify", "--help"}

// imageOf is the image among the arguments of docker run and docker pull, or nil.
func imageOf(args []word) *word {
	for i := 0; i < len(args); i++ {
		text := args[i].text
		switch {
		case len(args[i].variables) > 0 && !args[i].quoted: // which may be options
			return nil
		case !strings.HasPrefix(text, "-"):
			return &args[i]
		case strings.HasPrefix(text, "--"):
			if !strings.Contains(text, "=") && !slices.Contains(alone, text) {
				i++ // its value
			}
		case strings.Trim(text[1:], "ditPq") == "": // -it
		case len(text) == 2 || strings.Trim(text[1:len(text)-1], "ditPq") == "": // -v, -itv
			i++
		}
	}
	return nil
}
