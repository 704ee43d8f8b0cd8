package agent

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"buildsmith/runner/glob"
)

// ReportFiles is the ID of the archive that holds the files of the reports, each below the index of its group.
const ReportFiles = "-reports"

// Limits of the files of reports: what is beyond them is told and left out.
const (
	maxReportFile  = 50 << 20  // bytes of one file
	maxReportFiles = 200 << 20 // bytes of all
	maxReportCount = 5000      // files of all
)

// packReports appends the archive of the files that reports are made from, and tells each group. What is wrong with a report
// never fails the build.
func (b *build) packReports(out *os.File) error {
	if len(b.job.Reports) == 0 {
		return nil
	}
	var told []Event
	err := b.archive(out, Event{Kind: Packed, ID: ReportFiles, Message: "reports"}, func(w *tar.Writer) (files int, size int64, err error) {
		p := &reportPacker{build: b, tar: w, names: map[string]int{}}
		for i := range b.job.Reports {
			e, err := p.group(i)
			if err != nil {
				return 0, 0, err
			}
			told = append(told, e)
		}
		return p.files, p.size, nil
	})
	if err != nil {
		return err
	}
	for _, e := range told {
		b.log.event(e)
	}
	return nil
}

type reportPacker struct {
	*build
	tar   *tar.Writer
	files int
	size  int64
	names map[string]int
}

// group packs the files of one report group.
func (p *reportPacker) group(index int) (Event, error) {
	r := &p.job.Reports[index]
	at := "reports." + r.Group + "."
	e := Event{Kind: Report, Index: index, Code: r.Format, Message: r.Group}
	p.log.Logf("Preparing to copy %s report files of %s", r.Format, r.Group)
	group, err := p.expand("reports."+r.Group, r.Group)
	if group == "" && err == nil {
		p.log.Logf("Report %s: the name expands to nothing; it stays as it is written", r.Group)
		group = r.Group
	}
	if err == nil {
		e.Message = group
		var files []glob.File
		if files, err = p.find(at, r); err == nil {
			return e, p.addAll(&e, files)
		}
	}
	if !isFailure(err) {
		return e, err
	}
	e.Detail = err.Error()
	p.log.Logf("Report %s: %s", r.Group, e.Detail)
	return e, nil
}

// find finds the files of a group, each once.
func (p *reportPacker) find(at string, r *Reports) ([]glob.File, error) {
	roots, _, err := p.roots(at+"base-directory", r.BaseDirectory)
	if err != nil {
		return nil, err
	}
	var files []glob.File
	seen := map[string]bool{}
	missing, err := match(at+"files", r.Files, roots, func(f glob.File) {
		if !seen[f.Path] {
			seen[f.Path] = true
			files = append(files, f)
		}
	})
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		what := "no file matches " + strings.Join(missing, ", ")
		if len(files) == 0 {
			return nil, &failure{CodeClient, what}
		}
		p.log.Logf("Report %s: %s", r.Group, what)
	}
	return files, nil
}

func (p *reportPacker) addAll(e *Event, files []glob.File) error {
	for _, f := range files {
		if p.isCut() {
			return errCut
		}
		why, err := p.add(e.Index, f)
		if err != nil {
			return err
		}
		if why == "" {
			e.Files++
			continue
		}
		p.log.Logf("Report %s: %s: %s", e.Message, f.Name, why)
		if e.Detail == "" {
			e.Detail = f.Name + ": " + why
		}
	}
	p.log.Logf("Found %d report file(s) of %s", e.Files, e.Message)
	return nil
}

// add packs one file; why says why it is left out.
func (p *reportPacker) add(index int, f glob.File) (why string, _ error) {
	if climbs(f.Name) {
		return "its name leads out of the directory", nil
	}
	file, err := os.OpenFile(f.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return cause(err).Error(), nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "it is no regular file", nil
	}
	text, err := io.ReadAll(io.LimitReader(file, maxReportFile+1))
	if err != nil {
		return cause(err).Error(), nil
	}
	if p.log.mask != nil {
		text = p.log.mask.bytes(plainText(text))
	}
	switch {
	case len(text) > maxReportFile:
		return fmt.Sprintf("it has more than %d bytes", maxReportFile), nil
	case p.size+int64(len(text)) > maxReportFiles:
		return fmt.Sprintf("the files of all reports have more than %d bytes", maxReportFiles), nil
	case p.files >= maxReportCount:
		return fmt.Sprintf("there are more than %d files of reports", maxReportCount), nil
	}
	p.files++
	p.size += int64(len(text))
	name := strconv.Itoa(index) + "/" + p.log.mask.text(f.Name)
	if p.names[name]++; p.names[name] > 1 { // of two base directories, or made equal by masking
		name += "~" + strconv.Itoa(p.names[name])
	}
	if err := p.tar.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), ModTime: packTime}); err != nil {
		return "", err
	}
	_, err = p.tar.Write(text)
	return "", err
}

// encodingName is the encoding that an XML declaration names.
var encodingName = regexp.MustCompile(`^(\s*<\?xml\s[^>]*?\bencoding\s*=\s*["'])([^"'>]*)`)

// colours are the sequences that set the colours of a terminal, also as XML writes them. Whoever shows a report leaves them out, and
// so joins what stands on both sides.
var colours = regexp.MustCompile(`(?:\x1b|&#27;|&#x1[bB];|#x1B)\[[0-9;]*m`)

// plainText is the text of a report in which secrets can be found: in UTF-8, without colours. It is read by the same rules as the
// server reads it.
func plainText(text []byte) []byte {
	switch {
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}):
		text = decodeUTF16(text[2:], binary.LittleEndian)
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		text = decodeUTF16(text[2:], binary.BigEndian)
	case len(text) >= 2 && text[0] != 0 && text[1] == 0:
		text = decodeUTF16(text, binary.LittleEndian)
	case len(text) >= 2 && text[0] == 0 && text[1] != 0:
		text = decodeUTF16(text, binary.BigEndian)
	case !utf8.Valid(text):
		runes := make([]rune, len(text)) // ISO-8859-1, whose characters are the first 256
		for i, c := range text {
			runes[i] = rune(c)
		}
		text = []byte(string(runes))
	}
	head := text[:min(len(text), 1024)]
	if m := encodingName.FindSubmatchIndex(head); m != nil {
		text = slices.Concat(text[:m[4]], []byte("UTF-8"), text[m[5]:])
	}
	return colours.ReplaceAll(text, nil)
}

func decodeUTF16(text []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, 0, len(text)/2)
	for ; len(text) >= 2; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	return []byte(string(utf16.Decode(units)))
}
