package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"buildsmith/checks"
	"buildsmith/store"
)

// printLog prints the log of a build until the build is over.
func printLog(s *store.Store, id string, out io.Writer) (store.Build, error) {
	changes, unwatch := s.Watch()
	defer unwatch()
	growth, leave := s.WatchLog(id)
	defer leave()
	log, err := waitForLog(s, id, changes)
	if err != nil {
		return store.Build{}, err
	}
	defer log.Close()
	for {
		b, err := s.Build(id)
		if err != nil {
			return b, err
		}
		if _, err := io.Copy(out, log); err != nil {
			return b, err
		}
		if b.Done() {
			return b, nil
		}
		select {
		case <-growth:
		case <-changes:
		}
	}
}

// waitForLog opens the log of a build once it has been claimed: before that there is no file.
func waitForLog(s *store.Store, id string, changes <-chan struct{}) (io.ReadCloser, error) {
	for {
		b, err := s.Build(id)
		if err != nil {
			return nil, err
		}
		if b.Done() || b.Sandbox.ID != "" {
			return s.OpenLog(id)
		}
		<-changes
	}
}

// summarize prints what became of a build.
func summarize(out io.Writer, b store.Build) {
	out = plainWriter{out} // names and messages come from the build
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range b.Phases {
		if p.Type == store.PhaseSubmitted || p.Type == store.PhaseQueued || p.Type == store.PhaseCompleted {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f s\n", p.Type, p.Status, p.End.Sub(p.Start).Seconds())
	}
	w.Flush()
	printResults(out, b.Reports, b.Exported)
	fmt.Fprintf(out, "%s in %.1f s\n", b.Status, b.Ended.Sub(b.Created).Seconds())
	if h := b.Headline(); h != nil && h.Message != "" {
		fmt.Fprintf(out, "%s: %s\n", h.Type, h.Message)
	}
}

// unpackAll writes what a build leaves where the flags ask for it.
func (o *runOptions) unpackAll(s *store.Store, b *store.Build, messages io.Writer) error {
	one := func(what string, a *store.Artifacts, dir string) error {
		if a == nil || dir == "" {
			return nil
		}
		n, err := unpack(s, b, a.ID, dir)
		if err != nil {
			return fmt.Errorf("unpacking the %s: %w", strings.ToLower(what), err)
		}
		fmt.Fprintf(messages, "%s: %d files in %s\n", what, n, dir)
		return nil
	}
	err := one("Artifacts", b.Artifacts, o.artifacts)
	for i := range b.Secondary {
		if dir := o.artifacts; dir != "" {
			dir = filepath.Join(dir, "secondary-artifacts", b.Secondary[i].ID)
			err = errors.Join(err, os.MkdirAll(dir, 0o755), one("Artifacts "+b.Secondary[i].ID, &b.Secondary[i], dir))
		}
	}
	return errors.Join(err, one("Report files", b.ReportFiles, o.reports))
}

// unpack writes one archive of a build below dir, as files of the caller's. What is there already is replaced; no link is
// followed out of dir.
func unpack(s *store.Store, b *store.Build, id, dir string) (int, error) {
	archive, err := s.OpenArtifacts(b.ID, id)
	if err != nil {
		return 0, err
	}
	defer archive.Close()
	info, err := archive.Stat()
	if err != nil {
		return 0, err
	}
	z, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	for _, entry := range z.File {
		if id == store.ReportFiles {
			entry.Name = byGroup(b, entry.Name)
		}
		if err := unpackOne(root, entry); err != nil {
			return 0, err
		}
	}
	return len(z.File), nil
}

// byGroup is the name of a file of a report with its group's name in place of its number.
func byGroup(b *store.Build, name string) string {
	number, rest, _ := strings.Cut(name, "/")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(b.Reports) {
		return name
	}
	group := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/\\:", r) || r < ' ' {
			return '_'
		}
		return r
	}, b.Reports[i].Group)
	for j := range i { // two groups of one name
		if b.Reports[j].Group == b.Reports[i].Group {
			group += "_" + number
			break
		}
	}
	if !filepath.IsLocal(group) || len(group) > 200 {
		return name
	}
	return group + "/" + rest
}

func unpackOne(root *os.Root, entry *zip.File) error {
	if parent := filepath.Dir(entry.Name); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	if err := root.Remove(entry.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	in, err := entry.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if entry.Mode().Type() == os.ModeSymlink {
		target, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return root.Symlink(string(target), entry.Name)
	}
	out, err := root.OpenFile(entry.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, entry.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// printResults prints what a build's reports say, and the variables that it exported.
func printResults(out io.Writer, reports []store.ReportSummary, exported []store.Variable) {
	for _, r := range reports {
		switch percent, ok := r.Coverage.LinePercent(); {
		case r.Type == store.ReportCoverage && ok:
			fmt.Fprintf(out, "Report %s: %s, %s of the lines covered\n", r.Group, r.Status, checks.Percent(percent))
		case r.Type == store.ReportCoverage:
			fmt.Fprintf(out, "Report %s: %s\n", r.Group, r.Status)
		default:
			fmt.Fprintf(out, "Report %s: %s, %d tests, %d failed, %d skipped\n", r.Group, r.Status, r.Counts.Total, r.Counts.Failed+r.Counts.Error, r.Counts.Skipped)
		}
		for _, c := range r.Failing {
			fmt.Fprintf(out, "  %s %s\n", c.Status, c.FullName())
		}
		for _, p := range r.Problems {
			fmt.Fprintf(out, "  %s\n", p)
		}
	}
	for _, v := range exported {
		fmt.Fprintf(out, "Exported %s=%s\n", v.Name, v.Value)
	}
}
