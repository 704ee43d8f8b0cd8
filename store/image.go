package store

import "time"

// usedImage is what is known of an image that a build pulled.
type usedImage struct{ Last time.Time }

// useEvery is how finely the use of images is recorded.
const useEvery = time.Hour

// UseImage records that a build uses an image. Only images that were pulled for a build are remembered: others are not ours
// to remove.
func (s *Store) UseImage(name string, pulled bool) error {
	var image usedImage
	var known bool
	if err := s.View(func(tx *Tx) (err error) {
		image, known, err = get[usedImage](tx, bucketImages, []byte(name))
		return err
	}); err != nil {
		return err
	}
	if !known && !pulled || known && s.Now().Sub(image.Last) < useEvery {
		return nil
	}
	return s.Update(func(tx *Tx) error { return put(tx, bucketImages, []byte(name), usedImage{s.Now()}) })
}

// UnusedImages are the images pulled for builds that no build has used since.
func (tx *Tx) UnusedImages(since time.Time) ([]string, error) {
	var names []string
	err := tx.bucket(bucketImages).ForEach(func(name, _ []byte) error {
		image, _, err := get[usedImage](tx, bucketImages, name)
		if err == nil && image.Last.Before(since) {
			names = append(names, string(name))
		}
		return err
	})
	return names, err
}

// ForgetImage forgets an image that is gone.
func (tx *Tx) ForgetImage(name string) error { return tx.bucket(bucketImages).Delete([]byte(name)) }
