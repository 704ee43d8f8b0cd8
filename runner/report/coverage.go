package report

import (
	"strings"
)

// clover reads the XML of Clover, PHPUnit and Istanbul. The statements of a file count as its lines, as the tools count
// them; its line elements serve where several files of a report speak of one source file.
//
//	<coverage><project><package>
//	  <file name path>
//	    <metrics statements coveredstatements conditionals coveredconditionals/>
//	    <line num type count truecount falsecount/>
func clover(p *parser, x *xmlReader) {
	found := false
	x.each(func(name string) {
		switch name {
		case "project":
			found = true
			p.cloverFiles(x)
		case "packages":
			x.fail("no Clover XML: <coverage> has <packages>, as COBERTURAXML has it")
		}
	})
	if !found {
		x.fail("no Clover XML: there is no <project>")
	}
}

func (p *parser) cloverFiles(x *xmlReader) {
	x.each(func(name string) {
		switch name {
		case "package":
			p.cloverFiles(x)
		case "file":
			p.cloverFile(x)
		}
	})
}

func (p *parser) cloverFile(x *xmlReader) {
	path := x.attr("path")
	if path == "" {
		path = x.attr("name")
	}
	r := newRecord(p.src.covered(path, nil))
	measured := false
	var statements, ran, conditions, met int
	x.each(func(name string) {
		switch name {
		case "metrics":
			measured = true
			statements, ran = count(x.attr("statements")), count(x.attr("coveredstatements"))
			conditions, met = count(x.attr("conditionals")), count(x.attr("coveredconditionals"))
		case "line":
			kind := x.attr("type")
			if kind == "method" {
				return
			}
			number := lineNumber(x.attr("num"))
			taken, not := count(x.attr("truecount")), count(x.attr("falsecount"))
			hits := count(x.attr("count"))
			r.line(number, hits > 0 || taken > 0 || not > 0)
		}
	})
	if measured {
		r.countLines(ran, statements)
		r.countBranches(met, conditions)
	}
	p.addFile(r)
}

// cobertura reads the XML of Cobertura, which many tools write. A source file is the sum of its classes.
//
//	<coverage>
//	  <sources><source>
//	  <packages><package><classes>
//	    <class filename>
//	      <methods><method><lines>…
//	      <lines><line number hits branch condition-coverage="50% (1/2)"/>
func cobertura(p *parser, x *xmlReader) {
	found := false
	var sources []string
	x.each(func(name string) {
		switch name {
		case "sources":
			x.each(func(name string) {
				if text := strings.TrimSpace(x.textOf()); name == "source" && len(sources) < 100 {
					sources = append(sources, text)
				}
			})
		case "packages":
			found = true
			p.coberturaClasses(x, sources)
		case "project":
			x.fail("no Cobertura XML: <coverage> has <project>, as CLOVERXML has it")
		}
	})
	if !found {
		x.fail("no Cobertura XML: there is no <packages>")
	}
}

func (p *parser) coberturaClasses(x *xmlReader, sources []string) {
	x.each(func(name string) {
		switch name {
		case "package", "classes":
			p.coberturaClasses(x, sources)
		case "class":
			name := x.attr("filename")
			if name == "" {
				name = x.attr("name")
			}
			r := newRecord(p.src.covered(name, sources))
			coberturaLines(x, r)
			p.addFile(r)
		}
	})
}

// coberturaLines reads the lines of a class. Those of its methods are among them, or not, as the tool does.
func coberturaLines(x *xmlReader, r *record) {
	x.each(func(name string) {
		switch name {
		case "methods", "method", "lines":
			coberturaLines(x, r)
		case "line":
			number := lineNumber(x.attr("number"))
			r.line(number, count(x.attr("hits")) > 0)
			if strings.EqualFold(x.attr("branch"), "true") {
				// 50% (1/2)
				_, fraction, _ := strings.Cut(x.attr("condition-coverage"), "(")
				fraction, _, _ = strings.Cut(fraction, ")")
				met, all, _ := strings.Cut(fraction, "/")
				r.branch(number, 0, count(met), count(all))
			}
		}
	})
}

// jacoco reads the XML of JaCoCo. A source file is a package and a name; where the source tree is known and only one file
// of it can be meant it is that.
//
//	<report><group>
//	  <package name>
//	    <sourcefile name>
//	      <line nr mi ci mb cb/>
//	      <counter type="LINE" missed covered/>
func jacoco(p *parser, x *xmlReader) { p.jacocoPackages(x) }

func (p *parser) jacocoPackages(x *xmlReader) {
	x.each(func(name string) {
		switch name {
		case "group":
			p.jacocoPackages(x)
		case "package":
			pkg := x.attr("name")
			x.each(func(name string) {
				if name == "sourcefile" {
					p.jacocoFile(x, pkg)
				}
			})
		}
	})
}

func (p *parser) jacocoFile(x *xmlReader, pkg string) {
	path := x.attr("name")
	if pkg != "" {
		path = pkg + "/" + path
	}
	r := newRecord(p.src.covered(path, nil))
	var covered, missed struct{ lines, branches int }
	x.each(func(name string) {
		switch name {
		case "line":
			number := lineNumber(x.attr("nr"))
			r.line(number, count(x.attr("ci")) > 0)
			met, not := count(x.attr("cb")), count(x.attr("mb"))
			r.branch(number, 0, met, met+not)
		case "counter":
			switch x.attr("type") {
			case "LINE":
				covered.lines, missed.lines = count(x.attr("covered")), count(x.attr("missed"))
			case "BRANCH":
				covered.branches, missed.branches = count(x.attr("covered")), count(x.attr("missed"))
			}
		}
	})
	r.countLines(covered.lines, covered.lines+missed.lines)
	r.countBranches(covered.branches, covered.branches+missed.branches)
	p.addFile(r)
}
