package runner

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"buildsmith/runner/agent"
	"buildsmith/runner/report"
	"buildsmith/store"
)

// maxSummaries is how many bytes a build keeps of all its reports beside the reports themselves: its record is read and written as a
// whole, and often.
const maxSummaries = 512 << 10

// makeReports reads the files that the agent packed for the build's reports and keeps what they say. What is wrong with a file
// makes its report incomplete; an error is the store's, or ctx's.
//
// What a report holds in memory is bounded, and only one of all builds is made at a time.
func (f *follower) makeReports(ctx context.Context) error {
	select {
	case f.r.reporting <- struct{}{}:
		defer func() { <-f.r.reporting }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	archive, err := f.r.Store.OpenArtifacts(f.b.ID, store.ReportFiles)
	if err != nil {
		return err
	}
	defer archive.Close()
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	files, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return fmt.Errorf("reading the files of reports: %w", err)
	}
	names, err := f.tree.Files(ctx)
	if err != nil {
		f.log.Warn("listing the files that reports speak of", "err", err) // they are taken at their word
		names = nil
	}
	src := report.NewSource([]string{agent.SourceDir + "/" + sourcePath(f.b.Repo)}, names)
	earlier, err := f.earlierBuilds()
	if err != nil {
		return err
	}
	told := f.outcome.Reports[:min(len(f.outcome.Reports), f.b.Planned.Reports)]
	summaries := make([]store.ReportSummary, 0, len(told))
	room := maxSummaries
	for i, packed := range told {
		r := makeReport(ctx, packed, strconv.Itoa(i)+"/", files.File, src)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s := report.Summarize(&r)
		s.Change = f.compare(&r, earlier)
		if err := f.r.Store.KeepReport(f.b.ID, i, &r); err != nil {
			return err
		}
		room -= fit(&s, room/(len(told)-i))
		summaries = append(summaries, s)
	}
	return f.change(func(b *store.Build) { b.Reports = summaries })
}

// fit shortens a summary until it has at most so many bytes, if that can be, and gives how many it has.
func fit(s *store.ReportSummary, room int) int {
	size := func() int {
		text, err := json.Marshal(s)
		if err != nil {
			return 0
		}
		return len(text)
	}
	for _, shorten := range []func(){
		func() {},
		func() { // the beginnings of messages and names
			for i := range s.Failing {
				c := &s.Failing[i]
				c.Name, c.Prefix, c.Message = cut(c.Name, 200), cut(c.Prefix, 200), cut(c.Message, 200)
			}
			if c := s.Change; c != nil {
				for _, list := range [][]string{c.NewlyFailing, c.Fixed, c.Slower} {
					for i := range list {
						list[i] = cut(list[i], 200)
					}
				}
			}
		},
		func() { // a few of them
			s.Failing = s.Failing[:min(len(s.Failing), 10)]
			if c := s.Change; c != nil {
				c.NewlyFailing, c.Fixed, c.Slower = c.NewlyFailing[:min(len(c.NewlyFailing), 5)], c.Fixed[:min(len(c.Fixed), 5)], c.Slower[:min(len(c.Slower), 5)]
			}
		},
		func() { // the numbers alone
			s.Failing = nil
			if c := s.Change; c != nil {
				c.NewlyFailing, c.Fixed, c.Slower = nil, nil, nil
			}
			s.Group = cut(s.Group, 200)
			s.Problems = s.Problems[:min(len(s.Problems), 1)]
			for i := range s.Problems {
				s.Problems[i] = cut(s.Problems[i], 200)
			}
		},
	} {
		shorten()
		if n := size(); n <= room {
			return n
		}
	}
	return size()
}

// cut is the beginning of a text, at most n bytes and whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// makeReport reads the files of one group, those below a directory of the archive.
func makeReport(ctx context.Context, packed store.PackedReport, dir string, files []*zip.File, src *report.Source) store.Report {
	b := report.NewBuilder(packed.Group, packed.Format)
	if packed.Problem != "" {
		b.Problem(packed.Problem)
	}
	for _, file := range files {
		name, ok := strings.CutPrefix(file.Name, dir)
		if !ok || !file.Mode().IsRegular() || ctx.Err() != nil {
			continue
		}
		in, err := file.Open()
		if err != nil {
			b.Problem(fmt.Sprintf("%s cannot be read: %v", name, err))
			continue
		}
		content, err := report.Parse(packed.Format, name, contextReader{ctx, in}, src)
		in.Close()
		if err != nil {
			b.Problem(err.Error())
		}
		if err == nil || len(content.Cases)+len(content.Coverage) > 0 {
			b.Add(name, content)
		}
	}
	return b.Report()
}

// comparedBuilds is how many builds of the base branch are looked at for a report of the same group.
const comparedBuilds = 5

// earlierBuilds are the last builds of the base branch that left reports.
func (f *follower) earlierBuilds() (list []store.Build, err error) {
	ref := baseRef(&f.b)
	if ref == "" {
		return nil, nil
	}
	err = f.r.Store.View(func(tx *store.Tx) (err error) {
		list, err = tx.EarlierBuilds(&f.b, ref, comparedBuilds)
		return err
	})
	return list, err
}

// compare says how a report differs from the newest of the same group that an earlier build left; nil if there is none.
func (f *follower) compare(r *store.Report, earlier []store.Build) *store.ReportChange {
	for _, b := range earlier {
		for i, s := range b.Reports {
			if s.Group != r.Group || s.Type != r.Type {
				continue
			}
			before, err := f.r.Store.Report(b.ID, i)
			if err != nil { // it may be kept no longer
				f.log.Warn("reading an earlier report", "err", err)
				return nil
			}
			change := report.Compare(&before, r)
			change.Build, change.Number, change.Ref = b.ID, b.Number, baseRef(&f.b)
			return &change
		}
	}
	return nil
}

// baseRef is the branch that a build's reports are compared with: a pull request's base, else the default branch.
func baseRef(b *store.Build) string {
	if b.Trigger.BaseRef != "" {
		return b.Trigger.BaseRef
	}
	if b.Repo.DefaultBranch != "" {
		return "refs/heads/" + b.Repo.DefaultBranch
	}
	return b.Trigger.HeadRef
}
