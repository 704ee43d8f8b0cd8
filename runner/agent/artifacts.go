package agent

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"buildsmith/runner/glob"
)

// UploadArtifacts is the phase in which the artifacts are packed.
const UploadArtifacts = "UPLOAD_ARTIFACTS"

// upload makes the reports and packs the artifacts of the job.
func (b *build) upload() error {
	b.log.event(Event{Kind: Enter, Phase: UploadArtifacts})
	b.log.Logf("Entering phase %s", UploadArtifacts)
	_, err := b.leave(UploadArtifacts, b.pack())
	return err
}

// packTime is the time of every file in an archive, so that equal files make equal archives.
var packTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack packs everything that leaves as archives. The reports come first, since a build that fails to find its artifacts has
// reports all the same; each archive is told when it is whole.
func (b *build) pack() error {
	if len(b.job.Uploads)+len(b.job.Reports) == 0 {
		return nil
	}
	if b.shell.program == "" { // no phase had a shell to find
		if err := b.shell.find(b.job.Shell); err != nil {
			return &failure{CodeClient, err.Error()}
		}
	}
	out, err := os.OpenFile(filepath.Join(b.dir, ArtifactsName), os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &failure{CodeClient, fmt.Sprintf("artifact archive damaged by the build: %v", cause(err))}
	}
	defer out.Close()
	if err := b.packReports(out); err != nil {
		return err
	}
	for i := range b.job.Uploads {
		if i == 1 {
			b.log.Logf("Preparing to copy secondary artifacts")
		}
		if err := b.packArtifacts(out, &b.job.Uploads[i]); err != nil {
			return err
		}
	}
	if len(b.job.Uploads) == 1 {
		b.log.Logf("Preparing to copy secondary artifacts")
		b.log.Logf("No secondary artifacts defined in buildspec")
	}
	return out.Close()
}

// packArtifacts appends the archive of one artifacts block.
func (b *build) packArtifacts(out *os.File, a *Artifacts) error {
	at := "artifacts."
	if a.ID != "" {
		at = "artifacts.secondary-artifacts." + a.ID + "."
		b.log.Logf("Secondary artifacts %s", a.ID)
	}
	if a.Unknown {
		return &failure{CodeClient, fmt.Sprintf("the project has no secondary artifact %q; name it in its secondary-artifacts", a.ID)}
	}
	name, err := b.expand(at+"name", a.Name)
	if err != nil {
		return err
	}
	prefix, err := b.expand(at+"s3-prefix", a.Prefix)
	if err != nil {
		return err
	}
	for what, text := range map[string]string{"name": name, "s3-prefix": prefix} {
		if text != "" && !filepath.IsLocal(text) {
			return &failure{CodeClient, fmt.Sprintf("the artifact's %s is %q; it must be relative and have no ..", what, text)}
		}
	}
	files, err := b.collect(at, a)
	if err != nil {
		return err
	}
	return b.archive(out, Event{Kind: Packed, ID: a.ID, Message: name, Detail: prefix}, func(w *tar.Writer) (int, int64, error) {
		p := &packer{tar: w, log: b.log, limit: a.Limit, links: a.EnableSymlinks && !a.DiscardPaths, cut: b.isCut,
			linked: map[string]bool{}, directories: map[string]bool{}}
		for _, f := range files {
			if err := p.add(f); err != nil {
				return 0, 0, err
			}
		}
		if p.files > 0 {
			return p.files, p.size, nil
		}
		what := "no matching artifact paths found"
		if a.ID != "" {
			what += " for the secondary artifact " + a.ID
		}
		return 0, 0, &failure{CodeClient, what}
	})
}

// archive appends one archive to out and tells it.
func (b *build) archive(out *os.File, packed Event, fill func(*tar.Writer) (files int, size int64, err error)) error {
	var err error
	if packed.Offset, err = out.Seek(0, io.SeekCurrent); err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(out, 1<<20)
	w := tar.NewWriter(buffer)
	if packed.Files, packed.Size, err = fill(w); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), buffer.Flush()); err != nil {
		return err
	}
	end, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	packed.Length = end - packed.Offset
	b.log.event(packed)
	return nil
}

// lastUser is the user of the last phase that had commands, root before the first.
func (b *build) lastUser() (*syscall.Credential, error) {
	if b.last != nil {
		return b.last, nil
	}
	return b.shell.as("")
}

// expand lets the build's shell expand a value of the buildspec, as the user of the last phase.
func (b *build) expand(key, text string) (string, error) {
	cred, err := b.lastUser()
	if err != nil {
		return "", err
	}
	value, err := b.shell.expand(text, cred)
	if err != nil {
		return "", &failure{CodeClient, fmt.Sprintf("%s: %v", key, err)}
	}
	if b.isCut() {
		return "", errCut
	}
	return value, nil
}

// roots are the directories that a base-directory stands for, and what it is when it is expanded.
func (b *build) roots(key, text string) (roots []string, base string, err error) {
	if base, err = b.expand(key, text); err != nil {
		return nil, "", err
	}
	if base == "" {
		base = "."
	}
	b.log.Logf("Expanding base directory path: %s", base)
	pattern, err := glob.Compile(base)
	if err != nil {
		return nil, "", &failure{CodeClient, key + ": " + err.Error()}
	}
	if roots = pattern.Dirs(b.job.Dir); len(roots) == 0 {
		return nil, "", &failure{CodeClient, "no matching base directory path found for " + base}
	}
	return roots, base, nil
}

// collect finds the files of an artifacts block: matched, without the excluded ones, each name once, sorted. at is where the
// block stands in the buildspec.
func (b *build) collect(at string, a *Artifacts) ([]glob.File, error) {
	roots, base, err := b.roots(at+"base-directory", a.BaseDirectory)
	if err != nil {
		return nil, err
	}
	b.log.Logf("Assembling file list")
	exclude, err := compile(at+"exclude-paths", a.Exclude)
	if err != nil {
		return nil, err
	}
	found := map[string]glob.File{}
	missing, err := match(at+"files", a.Files, roots, func(f glob.File) {
		if slices.ContainsFunc(exclude, func(p glob.Pattern) bool { return p.Match(f.Name) }) {
			return
		}
		if other, twice := found[f.Name]; twice && other.Path != f.Path {
			b.log.Logf("%s takes the place of %s, which has the same name below another base directory", f.Path, other.Path)
		}
		found[f.Name] = f
	})
	if err != nil {
		return nil, err
	}
	for _, text := range missing {
		b.log.Logf("Skipping invalid file path %s", text)
	}
	b.log.Logf("Expanding file paths for base directory %s", base)
	files := slices.SortedFunc(maps.Values(found), byName)
	if a.DiscardPaths {
		files = b.flatten(files)
	}
	b.log.Logf("Found %d file(s)", len(files))
	return files, nil
}

// match visits the files below roots that the patterns of a key match, and gives the patterns that match none.
func match(key string, texts, roots []string, visit func(glob.File)) (missing []string, err error) {
	patterns, err := compile(key, texts)
	if err != nil {
		return nil, err
	}
	for i, pattern := range patterns {
		n := 0
		for _, root := range roots {
			for _, f := range pattern.Files(root) {
				n++
				visit(f)
			}
		}
		if n == 0 {
			missing = append(missing, texts[i])
		}
	}
	return missing, nil
}

func byName(a, b glob.File) int { return strings.Compare(a.Name, b.Name) }

// flatten puts every file at the root; of two with one name the last stays.
func (b *build) flatten(files []glob.File) []glob.File {
	flat := map[string]glob.File{}
	for _, f := range files {
		name := path.Base(f.Name)
		if other, twice := flat[name]; twice {
			b.log.Logf("%s takes the place of %s, since discard-paths gives both one name", f.Name, other.Name)
		}
		flat[name] = f
	}
	renamed := make([]glob.File, 0, len(flat))
	for name, f := range flat {
		renamed = append(renamed, glob.File{Name: name, Path: f.Path})
	}
	slices.SortFunc(renamed, byName)
	return renamed
}

// compile reads the patterns of a key.
func compile(key string, texts []string) ([]glob.Pattern, error) {
	var patterns []glob.Pattern
	for _, text := range texts {
		p, err := glob.Compile(text)
		if err != nil {
			return nil, &failure{CodeClient, key + ": " + err.Error()}
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}
