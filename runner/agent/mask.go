package agent

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// A masker hides secrets in what a build prints. Every byte of every occurrence of a pattern is hidden, and each run of
// hidden bytes becomes one mask, so that neither the length nor the number of the secrets in it shows.
//
// write and flush are one stream, for one goroutine at a time. text and bytes leave the stream alone and may be called at
// any time. A nil masker hides nothing and costs nothing.
//
// # Patterns
//
// These are derived from each secret, without the line breaks at its ends, and again without the blanks there:
//
//	the value itself
//	each line of a value of several lines, without the blanks at its ends
//	percent-encoding as the common encoders do it, in both cases of the hexadecimal digits
//	base64 in both alphabets, in the three ways that bytes can fall into groups of three
//	the lines into which tools break that base64, if the value is the beginning of what they encode
//	what stands between the quotes when the value is quoted as JSON, XML or for a shell
//
// Base64 is matched by the characters that the value alone decides. Those beside them hold bits of the value and bits of its
// neighbours; they are hidden with a match. The same forms are derived of the value with a line feed after it, as echo prints it.
//
// Line breaks at the ends of a value are no part of a pattern: they are no secret, hiding them would join lines of the log,
// and a pattern that begins with one would hold back the end of every line.
//
// # What is not hidden
//
// A value or line of less than 4 bytes is left alone: hiding it would hide half of the log. So are the BEGIN and END lines
// of PEM, which are the same in every key. All other lines of a secret are hidden wherever they appear, however common.
// Not found are parts of a value, other encodings, encodings of encodings, and base64 that is broken into lines anywhere
// else than from the value's beginning at 64 or 76 characters.
type masker struct {
	*patterns

	// What the stream has not shown yet begins with held. Its first cover bytes belong to the mask that was shown last,
	// and if masked is set so does what touches them.
	held   []byte
	cover  int
	masked bool
	spare  []byte // the buffer that what was returned last may be in
}

// mask is what stands for what is hidden.
const mask = "***"

// minSecret is the least number of bytes that are hidden. The search relies on it.
const minSecret = 4

// newMasker returns a masker for secrets, nil if nothing is to be hidden.
func newMasker(secrets []string) *masker {
	var list []pattern
	for _, secret := range secrets {
		list = derivePatterns(list, secret)
	}
	p := compilePatterns(list)
	if p == nil {
		return nil
	}
	return &masker{patterns: p}
}

// write continues the stream and returns what can be shown now. Held back is only what may turn out to belong to a
// secret; how the stream was cut into calls makes no difference to what they and flush return together. The result is
// valid until the next call and may be a part of text.
func (m *masker) write(text []byte) []byte {
	if m == nil || len(text) == 0 {
		return text
	}
	data := text
	if len(m.held) > 0 {
		m.held = append(m.held, text...)
		data = m.held
	}
	shown, n := m.hide(data, false)
	// The result may lie in held, so what is still held back goes to the other buffer.
	m.held, m.spare = append(m.spare[:0], data[n:]...), m.held
	return shown
}

// flush ends the stream, returns what was held back, and begins another stream. The result is valid until the next call.
func (m *masker) flush() []byte {
	if m == nil {
		return nil
	}
	shown, _ := m.hide(m.held, true)
	m.held, m.spare = m.spare[:0], m.held
	m.cover, m.masked = 0, false
	return shown
}

// text hides the secrets in a name or message.
func (m *masker) text(s string) string {
	if m == nil {
		return s
	}
	return string(m.bytes([]byte(s)))
}

// bytes hides the secrets in a whole file. The result is b itself if there are none; b is left as it is.
func (m *masker) bytes(b []byte) []byte {
	if m == nil {
		return b
	}
	whole := masker{patterns: m.patterns}
	shown, _ := whole.hide(b, true)
	return shown
}

// hide decides data, which begins with what was held back, up to its n-th byte, and all of it if it is the last of the
// stream. Shown is what takes its place, a part of data if nothing more is hidden there.
func (m *masker) hide(data []byte, last bool) (shown []byte, n int) {
	var out []byte
	from := m.cover // before it everything has been shown or hidden
	i := 0
	for {
		i = m.candidate(data, i)
		if last && len(data)-i < minSecret {
			i = len(data)
		}
		if i == len(data) {
			break
		}
		found, more := m.find(data[i:])
		if more && !last {
			break
		}
		if found != nil {
			start, end := i, i+len(found.text)
			if found.left && i > 0 && inBase64[data[i-1]] {
				start--
			}
			if found.right && end < len(data) && inBase64[data[end]] {
				end++
			}
			if !m.masked || start > from {
				out = append(out, data[from:start]...)
				out = append(out, mask...)
				m.masked = true
			}
			from = max(from, end)
		}
		i++
	}
	// A match that begins at i would hide the character before it as well.
	if !last && m.anyLeft && i > from && inBase64[data[i-1]] {
		i--
	}
	m.cover = max(from-i, 0)
	if plain := data[min(from, i):i]; len(plain) > 0 {
		m.masked = false
		if out == nil {
			return plain, i
		}
		out = append(out, plain...)
	}
	return out, i
}

// A pattern is a text to hide.
type pattern struct {
	text        []byte
	left, right bool // the base64 character before, after the text is hidden with it
	prefix      int  // the longest other pattern that the text begins with, -1 for none
}

// patterns is a set of patterns to search for. A filter tells of nearly all places in the log that none begins there, by
// the first four bytes; at the others the sorted list is searched. That takes no more memory than the patterns have bytes,
// however long they are, where an automaton would take a multiple.
type patterns struct {
	list    []pattern // sorted by text, all different
	begin   map[uint32]span
	filter  []uint64 // one bit for each value of slot
	shift   int
	longest int
	anyLeft bool
}

// A span is the part of a list whose patterns begin with the same four bytes.
type span struct{ from, to int }

// compilePatterns makes a set of a list, which it reorders; nil if nothing in it is long enough.
func compilePatterns(list []pattern) *patterns {
	list = slices.DeleteFunc(list, func(p pattern) bool { return len(p.text) < minSecret })
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b pattern) int { return bytes.Compare(a.text, b.text) })
	p := &patterns{begin: map[uint32]span{}}
	for _, next := range list {
		if n := len(p.list); n > 0 && bytes.Equal(p.list[n-1].text, next.text) {
			p.list[n-1].left = p.list[n-1].left || next.left
			p.list[n-1].right = p.list[n-1].right || next.right
			continue
		}
		p.list = append(p.list, next)
	}
	for i := range p.list {
		next := &p.list[i]
		next.prefix = i - 1
		for next.prefix >= 0 && !bytes.HasPrefix(next.text, p.list[next.prefix].text) {
			next.prefix = p.list[next.prefix].prefix
		}
		if next.prefix >= 0 {
			// What is found is the longest, and stands for those that it begins with.
			next.left = next.left || p.list[next.prefix].left
		}
		p.longest = max(p.longest, len(next.text))
		p.anyLeft = p.anyLeft || next.left
		four := binary.LittleEndian.Uint32(next.text)
		s, ok := p.begin[four]
		if !ok {
			s.from = i
		}
		s.to = i + 1
		p.begin[four] = s
	}
	// One bit of 256 is set, unless there are very many patterns; a usual filter fits the processor's nearest cache.
	size := min(max(bits.Len(uint(len(p.begin)*256-1)), 12), 22)
	p.shift = 32 - size
	p.filter = make([]uint64, 1<<(size-6))
	for four := range p.begin {
		bit := slot(four, p.shift)
		p.filter[bit>>6] |= 1 << (bit & 63)
	}
	return p
}

// slot is the bit of the filter for four bytes.
func slot(four uint32, shift int) uint32 { return four * 0x9e3779b1 >> (shift & 31) }

// candidate is the first place in data, from i on, where the filter does not exclude a pattern, or len(data). The last
// three places have too few bytes for the filter; none of them is passed over.
func (p *patterns) candidate(data []byte, i int) int {
	filter, shift := p.filter, p.shift
	for ; i+8 <= len(data); i += 4 {
		eight := binary.LittleEndian.Uint64(data[i:])
		a, b := slot(uint32(eight), shift), slot(uint32(eight>>8), shift)
		c, d := slot(uint32(eight>>16), shift), slot(uint32(eight>>24), shift)
		if (filter[a>>6]>>(a&63)|filter[b>>6]>>(b&63)|filter[c>>6]>>(c&63)|filter[d>>6]>>(d&63))&1 != 0 {
			break
		}
	}
	for ; i+minSecret <= len(data); i++ {
		bit := slot(binary.LittleEndian.Uint32(data[i:]), p.shift)
		if p.filter[bit>>6]>>(bit&63)&1 != 0 {
			return i
		}
	}
	return i
}

// find returns the longest pattern that data begins with, nil if there is none. More says that what follows data may make
// it a longer one, or decide about the character after it.
func (p *patterns) find(data []byte) (found *pattern, more bool) {
	data = data[:min(len(data), p.longest+1)] // one more, to see that a pattern is not all of it
	s := span{0, len(p.list)}
	if len(data) >= minSecret {
		var ok bool
		if s, ok = p.begin[binary.LittleEndian.Uint32(data)]; !ok {
			return nil, false
		}
	}
	// All patterns that data begins with are at the beginning of the last one that does not come after data, and those
	// that begin with data follow it.
	after, end := s.from, s.to
	for after < end {
		if mid := int(uint(after+end) / 2); bytes.Compare(p.list[mid].text, data) <= 0 {
			after = mid + 1
		} else {
			end = mid
		}
	}
	more = after < s.to && bytes.HasPrefix(p.list[after].text, data)
	i := after - 1
	for i >= s.from && !bytes.HasPrefix(data, p.list[i].text) {
		i = p.list[i].prefix
	}
	if i < s.from {
		return nil, more
	}
	found = &p.list[i]
	return found, more || found.right && len(found.text) == len(data)
}
